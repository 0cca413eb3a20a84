"""Jobs of the ComfyUI backend, run in this process."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from msgspec.structs import replace

from framegate.core.backend import FinishedFile
from framegate.core.errors import GenerationError, JobCancelled
from framegate.core.testing.backends import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.comfyui.backend import ComfyBackend

VIDEO_SHOT = Shot(
    task=Task.IMAGE_TO_VIDEO,
    prompt="a boat",
    width=128,
    height=96,
    num_frames=9,
    fps=24.0,
    seed=1,
    num_inference_steps=20,
    guidance_scale=1.0,
)
IMAGE_SHOT = replace(VIDEO_SHOT, task=Task.TEXT_TO_IMAGE, width=640, height=384, num_frames=1, fps=0.0)


class JobContext(RecordingContext):
    """A context that can be cancelled from another thread.

    With ``notice_in_report`` it is a report that notices first.
    """

    def __init__(self, workdir: Path, *, notice_in_report: bool = False, **inputs: Any) -> None:
        super().__init__(workdir, **inputs)
        self.cancelled = Event()
        self._noticed = Event()
        if not notice_in_report:
            self._noticed.set()

    def report(self, step: int, total: int, message: str = "") -> None:
        if self.cancelled.is_set():
            self._noticed.set()
        super().report(step, total, message)

    def check_cancelled(self) -> None:
        if self.cancelled.is_set() and self._noticed.is_set():
            raise JobCancelled


class BackendJob:
    """A shot that runs in a thread, as it would in a worker.

    ``table`` is the plugin's table of the config, ``inputs`` are those of the context.
    """

    def __init__(
        self, folder: Path, table: Mapping[str, Any], workflow: str, shot: Shot, **inputs: Any
    ) -> None:
        folder.mkdir(parents=True)
        self.context = JobContext(folder, **inputs)
        self._executor = ThreadPoolExecutor(1)
        backend = ComfyBackend(workflow, table)
        self._future = self._executor.submit(backend.generate, shot, self.context)

    def result(self) -> list[FinishedFile]:
        return self._future.result(90)

    def error(self) -> str:
        """Return the message of the error that the job ends with."""
        error = self._future.exception(90)
        assert isinstance(error, GenerationError), error
        return error.message

    def cancel(self) -> None:
        self.context.cancelled.set()

    def is_cancelled(self) -> bool:
        return isinstance(self._future.exception(30), JobCancelled)

    def close(self) -> None:
        """Stop the job if it still runs."""
        self.cancel()
        self._executor.shutdown()
