"""Turn a claimed job into artifacts."""

import shutil
import threading
from contextlib import suppress
from pathlib import Path

from framegate.core.backend import Backend
from framegate.core.errors import Unavailable
from framegate.core.ports import ArtifactStore
from framegate.core.types import Artifact, MediaKind
from framegate.media.video.codecs import VideoCodecs
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.attempt import JobAttempt
from framegate.worker.running.images import make_images
from framegate.worker.running.videos import make_video


class JobRunner:
    """Run the shots of jobs and publish their results.

    ``abandon`` is set when the worker must stop before the job is done. Videos are encoded by one of the
    ``codecs``.
    """

    def __init__(
        self, artifacts: ArtifactStore, abandon: threading.Event, codecs: VideoCodecs | None = None
    ) -> None:
        self._artifacts = artifacts
        self._abandon = abandon
        self._codecs = codecs or VideoCodecs()

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
        artifacts: list[Artifact] = []
        try:
            if job.request.task.output == MediaKind.IMAGE:
                files = make_images(attempt, backend)
            else:
                files = [make_video(attempt, backend, self._codecs)]
            attempt.check_cancelled()
            for index, file in enumerate(files):
                artifacts.append(attempt.publish(index, file))
            with self._artifacts.syncing([artifact.key for artifact in artifacts]):
                _remove(workdir)
        except BaseException:
            with suppress(Unavailable, OSError):  # those left are orphans, and are swept with the others
                self._artifacts.delete_many([artifact.key for artifact in artifacts])
            _remove(workdir)
            raise
        return tuple(artifacts)


def _remove(workdir: Path) -> None:
    shutil.rmtree(workdir, ignore_errors=True)
    with suppress(OSError):  # another worker has the job by now
        workdir.parent.rmdir()
