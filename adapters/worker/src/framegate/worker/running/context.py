"""Implement the context of a running shot: inputs, cancellation, progress and partial images."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from framegate.core.errors import JobCancelled
from framegate.storage.jobs.worker_store import LeaseStatus
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.partial_images import PartialImages

if TYPE_CHECKING:
    from framegate.core.backend import Frame

REPORT_SECONDS = 0.2
MAX_MESSAGE = 200
"""Characters of a report's message."""


class JobRequeued(JobCancelled):
    """The worker shuts down before the job is done; the job goes back to its queue."""


def raise_if_stopped(active_job: ActiveJob, abandon: threading.Event) -> None:
    """Leave a job that no longer belongs to this worker, or that it can't finish.

    Raises:
        JobCancelled: The job was cancelled, or another worker has taken it.
        JobRequeued: The worker must stop.
    """
    if active_job.status != LeaseStatus.OK:
        raise JobCancelled
    if abandon.is_set():
        raise JobRequeued("The worker is shutting down.")


class JobContext:
    """Implement `GenerationContext` for one shot.

    Reports reach the store at most every `REPORT_SECONDS`; progress counts the frames of all shots.
    """

    def __init__(
        self,
        *,
        active_job: ActiveJob,
        abandon: threading.Event,
        workdir: Path,
        shot_index: int,
        image: Path | None,
        last_image: Path | None,
        video: Path | None,
        partial_images: PartialImages | None = None,
    ) -> None:
        self._partial_images = partial_images
        self.num_partial_images = partial_images.requested if partial_images else 0
        self._active_job = active_job
        self._abandon = abandon
        self._shot = shot_index
        self._reported_at = 0.0
        self.workdir = workdir
        self.image = image
        self.last_image = last_image
        self.video = video

    def report(self, step: int, total: int, message: str = "") -> None:
        """Report that ``step`` of ``total`` steps of this shot are done.

        Raises:
            JobCancelled: As for `raise_if_stopped`.
        """
        self.check_cancelled()
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        frames = [shot.num_frames for shot in self._active_job.job.shots]
        done = sum(frames[: self._shot]) + frames[self._shot] * min(step, total) / max(total, 1)
        if len(frames) > 1:
            message = f"shot {self._shot + 1} of {len(frames)}: {message}".rstrip(": ")
        message = message[:MAX_MESSAGE]  # each report is written, and sent to all who watch the job
        # The end of the job reports completion, not its last step.
        self._active_job.report(min(done / sum(frames), 0.99), message)

    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        """Store a partial image if a client is waiting for one; only then is ``render`` called.

        Raises:
            JobCancelled: As for `raise_if_stopped`.
        """
        self.check_cancelled()
        if self._partial_images is not None and self._partial_images.store(render):
            self._reported_at = 0.0  # the next report notifies the clients at once

    def check_cancelled(self) -> None:
        """Leave the job if it was cancelled or lost, or if the worker must stop.

        Raises:
            JobCancelled: As for `raise_if_stopped`.
        """
        raise_if_stopped(self._active_job, self._abandon)
