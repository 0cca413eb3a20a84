"""What can be shown of a job whose record is damaged."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import CLIENT_ID_LABEL, LOOKUP_LABEL, Job, JobState
from framegate.core.types import GenerationRequest, Shot, Task
from framegate.storage.jobs.records import UNREADABLE, files_of, read_artifacts, read_error, read_time
from framegate.storage.jobs.submissions import model_of
from framegate.storage.schema import NewerRecord, damage_as_unreadable

Value = TypeVar("Value")


class JobOutline(Job, frozen=True, kw_only=True):
    """What is left of a job; ``stored_files`` are the keys of its files, none if they can't be read."""

    stored_files: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The keys of all files that may be stored for it."""
        return self.stored_files


def outline_of(job_id: str, fields: Mapping[str, str]) -> JobOutline:
    """Return a job with what stands outside its JSON; its request is empty, and its shot has no size.

    It has the state in which it is, or has failed if its result can't be read.

    Raises:
        NewerRecord: A later version finished it, in a layout of its own.
    """
    submitted_at = _readable(lambda: read_time(fields, "submitted_at"))
    started_at = _readable(lambda: read_time(fields, "started_at"))
    finished_at = _readable(lambda: read_time(fields, "finished_at"))
    state = _readable(lambda: JobState(fields["state"]))
    if state is None:  # what ends or claims it writes it again
        state = JobState.QUEUED if finished_at is None else JobState.FAILED
    artifacts = _readable(lambda: read_artifacts(fields)) or ()
    error = _readable(lambda: read_error(fields))
    if state == JobState.FAILED or (state == JobState.SUCCEEDED and not artifacts):
        state, error = JobState.FAILED, error or UNREADABLE
    model = _readable(lambda: model_of(fields["lane"])) or ""
    share_id = fields.get("share_id", "")
    task = Task.TEXT_TO_VIDEO if share_id else Task.TEXT_TO_IMAGE  # only videos can be shared
    labels = {CLIENT_ID_LABEL: fields.get("known_as", ""), LOOKUP_LABEL: fields.get("result_name", "")}
    return JobOutline(
        id=job_id,
        model=model,
        served_by=model,
        queue=fields.get("queue", ""),
        dialect=fields.get("dialect", ""),
        request=GenerationRequest(model=model, task=task, prompt=""),
        shots=(_shot(task),),
        created_at=submitted_at or started_at or finished_at or 0.0,
        seq=_readable(lambda: int(fields["seq"])) or 0,
        owner=fields.get("owner", ""),
        labels={name: text for name, text in labels.items() if text},
        share_id=share_id,
        collection=fields.get("collection", ""),
        state=state,
        attempt=_readable(lambda: int(fields["attempt"])) or 0,
        worker=fields.get("worker", ""),
        cancel_requested=bool(fields.get("cancel")),
        progress=1.0 if state == JobState.SUCCEEDED else 0.0,
        started_at=started_at,
        finished_at=finished_at,
        artifacts=artifacts,
        error=error,
        stored_files=_readable(lambda: files_of(fields)) or (),
    )


def _readable(read: Callable[[], Value]) -> Value | None:
    """Return what can be read, or None; a layout of a later version is left to others."""
    try:
        with damage_as_unreadable("A field of this job"):
            return read()
    except NewerRecord:
        raise
    except UnreadableRecord:
        return None


def _shot(task: Task) -> Shot:
    return Shot(
        task=task,
        prompt="",
        width=0,
        height=0,
        num_frames=0,
        fps=1.0,
        seed=0,
        num_inference_steps=0,
        guidance_scale=0.0,
    )
