"""Turn a claimed job into artifacts."""

import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from framegate.core.backend import Backend
from framegate.core.ports import ArtifactStore
from framegate.core.types import Artifact, MediaKind
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.attempt import JobAttempt
from framegate.worker.running.images import make_images
from framegate.worker.running.videos import make_video


class JobRunner:
    """Run the shots of jobs and publish their results.

    ``abandon`` is set when the worker must stop before the job is done.
    """

    def __init__(self, artifacts: ArtifactStore, abandon: threading.Event) -> None:
        self._artifacts = artifacts
        self._abandon = abandon
        self._removing = ThreadPoolExecutor(1, "remove-workdir")
        self._removal: Future[None] | None = None

    def run(self, active_job: ActiveJob, backend: Backend) -> tuple[Artifact, ...]:
        """Return the job's artifacts, which are in the store but not yet part of the job.

        Raises:
            JobCancelled: The job was cancelled or lost, or the worker must stop; nothing was stored.
            GenerationError: The job failed; nothing was stored.
        """
        job = active_job.job
        workdir = self._artifacts.workdir(f"{job.id}/{job.attempt_name}")
        # Workers that had the job before are dead, or will notice that they lost it.
        for earlier in workdir.parent.iterdir():
            if earlier != workdir:
                shutil.rmtree(earlier, ignore_errors=True)
        attempt = JobAttempt(active_job, self._artifacts, self._abandon, workdir)
        in_background = False
        try:
            if job.request.task.output == MediaKind.IMAGE:
                files = make_images(attempt, backend)
            else:
                files = [make_video(attempt, backend)]
            attempt.check_cancelled()
            artifacts = tuple(attempt.publish(index, file) for index, file in enumerate(files))
            in_background = True
            return artifacts
        finally:
            self._remove(workdir, in_background=in_background)

    def close(self) -> None:
        """Wait until the folder of the last job is removed."""
        self._removing.shutdown()

    def _remove(self, workdir: Path, *, in_background: bool) -> None:
        """Remove an attempt's folder.

        On a busy disk that takes longer than a small job, so a job that is done doesn't wait for it; the next
        removal does. Another attempt at a job that isn't done may have the same name, and needs it free.
        """
        if self._removal is not None:
            self._removal.result()
            self._removal = None
        if in_background:
            self._removal = self._removing.submit(_remove_folder, workdir)
        else:
            _remove_folder(workdir)


def _remove_folder(workdir: Path) -> None:
    shutil.rmtree(workdir, ignore_errors=True)
    with suppress(OSError):  # another worker has the job by now
        workdir.parent.rmdir()
