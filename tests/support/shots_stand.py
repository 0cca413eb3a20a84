"""Jobs run by a worker's `JobRunner` in this process, up to the file that comes of them."""

import threading
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framegate.core import planning
from framegate.core.backend import Backend
from framegate.core.fitting import fit
from framegate.core.jobs import Job
from framegate.core.models import FrameRule, ModelSpec
from framegate.core.types import Artifact, GenerationRequest, Task
from framegate.media.video.frames import read_frames
from framegate.plugins.preview import PREVIEW
from framegate.storage.artifacts.folder import FolderStore
from framegate.worker.heartbeat.client import ActiveJob
from framegate.worker.running.job_runner import JobRunner

Frame: TypeAlias = NDArray[np.uint8]
SHORT = replace(PREVIEW, frames=FrameRule(4, 1, 5, 81))
"""The preview as a model that makes 81 frames at most."""
SIZE = {"width": 160, "height": 96}


class Stand:
    """Runs one job after the other with ``backend``; ``told`` is the progress that was reported."""

    def __init__(self, folder: Path, backend: Backend) -> None:
        self.store = FolderStore(folder)
        self.told: list[tuple[float, str]] = []
        self.backend = backend

    def make(self, spec: ModelSpec = PREVIEW, **values: Any) -> tuple[Job, Artifact, list[Frame]]:
        """Run a job; return it with its artifact and that one's frames."""
        task = Task.IMAGE_TO_VIDEO if "image" in values else Task.TEXT_TO_VIDEO
        wanted: dict[str, Any] = {"model": "preview", "task": task, "prompt": "a boat", **SIZE, **values}
        request = GenerationRequest(**wanted)
        fitted = fit(spec, request)
        job = Job(
            id="j",
            model="preview",
            served_by="preview",
            queue="q",
            dialect="test",
            request=fitted.request,
            shots=planning.plan(spec, fitted, seed=5),
            created_at=0.0,
            attempt=1,
        )
        active = ActiveJob(
            job, lambda: self.told.append((active.heartbeat.progress or 0.0, active.heartbeat.message))
        )
        (artifact,) = JobRunner(self.store, threading.Event()).run(active, self.backend)
        path = self.store.path(artifact.key)
        assert path is not None
        return job, artifact, list(read_frames(path))


def difference(one: Frame, other: Frame) -> float:
    """Return the mean distance of two frames' values, 0 … 255."""
    return float(np.abs(one.astype(np.int16) - other).mean())
