"""What a backend sees of its job."""

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


class HandBack(JobCancelled):
    """The worker shuts down and can't wait for this job."""


def raise_if_stopped(active: ActiveJob, abandon: threading.Event) -> None:
    """Leave a job that is this worker's no more, or that it can't finish.

    Raises:
        JobCancelled: it was cancelled, or another worker has taken it.
        HandBack: the worker must stop.
    """
    if active.status != LeaseStatus.OK:
        raise JobCancelled
    if abandon.is_set():
        raise HandBack("The worker is shutting down.")


class JobContext:
    """The `GenerationContext` of one shot. Reports reach the store at most every `REPORT_SECONDS`; progress
    is over the frames of all shots."""

    def __init__(
        self,
        *,
        active: ActiveJob,
        abandon: threading.Event,
        workdir: Path,
        shot_index: int,
        image: Path | None,
        last_image: Path | None,
        video: Path | None,
        partial_images: PartialImages | None = None,
    ) -> None:
        self._partial_images = partial_images
        self.num_partial_images = partial_images.wanted if partial_images else 0
        self._active = active
        self._abandon = abandon
        self._shot = shot_index
        self._reported_at = 0.0
        self.workdir = workdir
        self.image = image
        self.last_image = last_image
        self.video = video

    def report(self, step: int, total: int, message: str = "") -> None:
        self.check_cancelled()
        now = time.monotonic()
        if now - self._reported_at < REPORT_SECONDS:
            return
        self._reported_at = now
        frames = [shot.num_frames for shot in self._active.job.shots]
        done = sum(frames[: self._shot]) + frames[self._shot] * min(step, total) / max(total, 1)
        if len(frames) > 1:
            message = f"shot {self._shot + 1} of {len(frames)}: {message}".rstrip(": ")
        # All done is said by the end of the job, not by its last step.
        self._active.report(min(done / sum(frames), 0.99), message)

    def report_partial_image(self, render: "Callable[[], Frame]") -> None:
        self.check_cancelled()
        if self._partial_images is not None and self._partial_images.keep(render):
            self._reported_at = 0.0  # the next report tells those who watch

    def check_cancelled(self) -> None:
        raise_if_stopped(self._active, self._abandon)
