"""Turn a claimed job into artifacts."""

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from framegate.core.backend import Backend
from framegate.core.errors import Unavailable
from framegate.core.jobs import Job
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
        workdir = self._artifacts.workdir(f"job-{job.attempt_name}")
        _remove_earlier(job, workdir)
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
                shutil.rmtree(workdir, ignore_errors=True)
        except BaseException:
            with suppress(Unavailable, OSError):  # those left are orphans, and are swept with the others
                self._artifacts.delete_many([artifact.key for artifact in artifacts])
            shutil.rmtree(workdir, ignore_errors=True)
            raise
        return tuple(artifacts)


def _remove_earlier(job: Job, workdir: Path) -> None:
    """Remove the folders of workers that had the job before: they are dead, or will notice its loss."""
    prefix = f"job-{job.seq}-"  # of no other job
    with os.scandir(workdir.parent) as entries:
        earlier = [
            each.path for each in entries if each.name.startswith(prefix) and each.name != workdir.name
        ]
    for path in earlier:
        shutil.rmtree(path, ignore_errors=True)
