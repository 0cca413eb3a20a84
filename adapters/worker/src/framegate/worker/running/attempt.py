"""Give one attempt at a job its folder, its inputs, and a place for its results."""

import threading
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec import Struct
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from framegate.core.errors import GenerationFailed, Unavailable
from framegate.core.jobs import Job
from framegate.core.ports import ArtifactStore
from framegate.core.types import Artifact, MediaKind, MediaRef
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.context import JobContext, raise_if_stopped
from framegate.worker.running.partial_images import PartialImages

Answer = TypeVar("Answer")

OUTAGE_SECONDS = 600.0
"""How long a job waits for an artifact store that can't be reached."""
MAX_PAUSE_SECONDS = 10.0
CANCEL_SECONDS = 0.1
"""How soon a job that waits for the store notices that it was cancelled."""
CONTENT_TYPES = {
    ".mp4": "video/mp4",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}
_OWN_FOLDER = ".framegate"
"""Beside the files of a job's only shot; no backend uses that name."""
log = structlog.get_logger(__name__)


class ResultFile(Struct, frozen=True):
    """A finished file in an attempt's folder. ``duration`` is in seconds; 0 for images."""

    path: Path
    kind: MediaKind
    width: int
    height: int
    num_frames: int = 1
    fps: float = 0.0
    duration: float = 0.0


class JobAttempt:
    """One attempt at a job on this worker.

    ``folder`` is its own, ``abandon`` is set when the worker must stop before the job is done.
    """

    def __init__(
        self, active_job: ActiveJob, artifacts: ArtifactStore, abandon: threading.Event, folder: Path
    ) -> None:
        self._folder = folder
        self._active_job = active_job
        self._artifacts = artifacts
        self._abandon = abandon

    @property
    def job(self) -> Job:
        """The job, as it was claimed."""
        return self._active_job.job

    @cached_property
    def workdir(self) -> Path:
        """The folder for files that no backend makes."""
        return self._make_folder(_OWN_FOLDER)

    def check_cancelled(self) -> None:
        """Leave the job if it was cancelled or lost, or if the worker must stop.

        Raises:
            JobCancelled: As for `raise_if_stopped`.
        """
        raise_if_stopped(self._active_job, self._abandon)

    def partial_images(self) -> PartialImages:
        """Return the store of the job's partial images."""
        return PartialImages(self._artifacts, self.job, self.workdir)

    def context(
        self, shot_index: int, image: Path | None = None, partial_images: PartialImages | None = None
    ) -> JobContext:
        """Return what the backend sees while it makes a shot, which starts from ``image`` if given."""
        request = self.job.request
        num_shots = len(self.job.shots)
        is_last = shot_index == num_shots - 1
        # Each shot has a folder of its own: a backend may use the same names every time.
        workdir = self._folder if num_shots == 1 else self._make_folder(f"shot-{shot_index}")
        return JobContext(
            active_job=self._active_job,
            abandon=self._abandon,
            workdir=workdir,
            shot_index=shot_index,
            image=image or self.input(request.image),
            last_image=self.input(request.last_image) if is_last else None,
            video=None if request.extends_video else self.input(request.video),
            partial_images=partial_images,
        )

    def input(self, ref: MediaRef | None) -> Path | None:
        """Return the local path of an input; None if ``ref`` is None.

        Raises:
            GenerationFailed: The input was removed.
            Unavailable: The store can't be reached for `OUTAGE_SECONDS`.
            JobCancelled: The job was left meanwhile, as for `raise_if_stopped`.
        """
        if ref is None:
            return None
        path = self._wait_for_store(lambda: self._artifacts.fetch(ref.key, self.workdir))
        if path is None:
            raise GenerationFailed(f"The input {ref.kind} was removed before the job ran.")
        return path

    def publish(self, index: int, file: ResultFile) -> Artifact:
        """Move the job's result number ``index`` into the store; only ``syncing`` makes it durable there.

        Raises:
            Unavailable: The store can't be reached for `OUTAGE_SECONDS`.
            JobCancelled: The job was left meanwhile, as for `raise_if_stopped`.
        """
        suffix = file.path.suffix
        key = f"results/{self.job.id}/{self.job.attempt_name}-{index}{suffix}"
        size = self._wait_for_store(lambda: self._artifacts.put(file.path, key, sync=False))
        return Artifact(
            kind=file.kind,
            key=key,
            content_type=CONTENT_TYPES.get(suffix.lower(), "application/octet-stream"),
            size=size,
            width=file.width,
            height=file.height,
            num_frames=file.num_frames,
            fps=file.fps,
            duration=file.duration,
        )

    def _make_folder(self, name: str) -> Path:
        path = self._folder / name
        path.mkdir(exist_ok=True)
        return path

    def _wait_for_store(self, call: Callable[[], Answer]) -> Answer:
        """Repeat a call until the store can be reached: making the result may have taken far longer."""
        retrying = Retrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential(max=MAX_PAUSE_SECONDS),
            stop=stop_after_delay(OUTAGE_SECONDS),
            sleep=self._sleep,
            before_sleep=_log_outage,
            reraise=True,
        )
        return retrying(call)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check_cancelled()
            time.sleep(min(left, CANCEL_SECONDS))


def _log_outage(state: RetryCallState) -> None:
    log.warning("storage_unreachable", reason=str(state.outcome and state.outcome.exception()))
