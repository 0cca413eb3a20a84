"""How clients submit jobs to a server and poll them: its request shapes."""

import itertools
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.benchmarks.serving.http_client import request_bytes

_numbers = itertools.count(1)


class Shape(Struct, frozen=True):
    """The requests of an API that clients poll.

    Attributes:
        submit_path: Where jobs are submitted.
        body: Returns what to submit, for a prompt.
        job_id: Returns the id that an answer to it holds.
        poll_path: Where a job is polled, with its id as ``{}``.
        has_ended: Returns whether an answer to a poll shows a result; it raises for a failure.
        runs_jobs_itself: Whether the process that answers runs the jobs too.
    """

    submit_path: str
    body: Callable[[str], object]
    job_id: Callable[[Any], str]
    poll_path: str
    has_ended: Callable[[Any], bool]
    runs_jobs_itself: bool = False

    def submission(self, prompt: str = "a boat on a lake") -> bytes:
        """Return a request for a new job; no two are equal, as servers cache."""
        return request_bytes("POST", self.submit_path, self.body(f"{prompt} {next(_numbers)}"))

    def poll(self, job_id: str) -> bytes:
        """Return a request for the state of a job."""
        return request_bytes("GET", self.poll_path.format(job_id))


def _lightx2v_ended(answer: Any) -> bool:
    status = str(answer["status"])
    assert status not in ("failed", "cancelled"), answer
    return status in ("succeed", "completed")


def _comfyui_ended(answer: Any) -> bool:
    for entry in answer.values():
        assert entry["status"]["status_str"] == "success", entry
    return bool(answer)


SHAPES = {
    "lightx2v": Shape(
        submit_path="/v1/tasks/video",
        body=lambda prompt: {"prompt": prompt},
        job_id=lambda answer: str(answer["task_id"]),
        poll_path="/v1/tasks/{}/status",
        has_ended=_lightx2v_ended,
    ),
    # `custom_nodes` of the server need a node BenchStub of one text that is an output and returns at once.
    "comfyui": Shape(
        submit_path="/prompt",
        body=lambda prompt: {"prompt": {"1": {"class_type": "BenchStub", "inputs": {"text": prompt}}}},
        job_id=lambda answer: str(answer["prompt_id"]),
        poll_path="/history/{}",
        has_ended=_comfyui_ended,
        runs_jobs_itself=True,
    ),
}
