"""Whether the backends work at all on this machine: small models, one job or a few for each row."""

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace

from framegate.core.errors import JobCancelled
from framegate.core.plugins import load_object
from framegate.core.testing import RecordingContext, gradient_png
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.step_cache.schedules import FEW_STEPS
from tests.benchmarks.gpu import small
from tests.benchmarks.gpu.levers import CACHES
from tests.benchmarks.gpu.models import VIDEO
from tests.benchmarks.gpu.session import Measured, Session, Step

BACKENDS = {
    "wan21_i2v": "framegate.plugins.wan21.backend:Wan21Backend",
    "wan22_ti2v": "framegate.plugins.wan22.backend:Wan22Backend",
    "wan22_a14b_t2v": "framegate.plugins.wan22.backend:Wan22Backend",
    "ltx2": "framegate.plugins.ltx2.backend:Ltx2Backend",
    "ltx23": "framegate.plugins.ltx2.backend:Ltx2Backend",
}
SHOT = replace(VIDEO, width=96, height=64, num_frames=9, num_inference_steps=4)
SIZES = ((96, 64, 9), (64, 128, 17), (128, 64, 9))
TI2V, A14B = "wan22_ti2v", "wan22_a14b_t2v"
EAGER: dict[str, Any] = {"compile": False}
CHOSEN: dict[str, Any] = {}
"""No options: what the backend chooses by itself, which compiles on CUDA."""


@dataclass(frozen=True)
class Job:
    """A row: jobs of one model, once as it is, in several sizes, or after one that is cancelled."""

    model: str
    name: str
    options: dict[str, Any]
    kind: Literal["once", "sizes", "cancel"] = "once"


JOBS = [
    *(
        Job(TI2V, f"offload {way}", {"offload": way, **EAGER})
        for way in ("none", "text-encoder", "model", "group")
    ),
    *(Job(TI2V, kind, {"quantize": kind, **EAGER}) for kind in ("int8", "fp8-layerwise")),
    Job(TI2V, "cancel, then a job", EAGER, "cancel"),
    *(Job(TI2V, f"cache {name}", {"cache": name, **EAGER}) for name in CACHES),
    Job("wan21_i2v", "eager", EAGER),
    Job(A14B, "eager", EAGER),
    Job("ltx2", "eager", EAGER),
    *(Job(model, "as it is chosen, three sizes", CHOSEN, "sizes") for model in ("ltx23", "ltx2", TI2V)),
    Job(A14B, "as it is chosen", CHOSEN),
    Job(TI2V, "fp8", {"quantize": "fp8"}),
]
"""What needs no compiler comes first."""


def measure(session: Session, names: Sequence[str]) -> None:
    """Run the rows of the models ``names``, all if there are none."""
    smoke = Smoke(session)
    for job in JOBS:
        if not names or job.model in names:
            session.run(job.model, [Step(job.name, partial(smoke.run, job))])


class Smoke:
    """What the rows share: the models' folders, each written when it is first needed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._image = gradient_png(session.folder / "image.png", SHOT.width, SHOT.height)
        self._saved = cache(self._save)

    def run(self, job: Job) -> Measured:
        """Run a row, and return how long its jobs took.

        Raises:
            AssertionError: What was generated is not a video, or not the same for the same seed.
        """
        shot = SHOT
        if "cache" in job.options:
            shot = replace(shot, num_inference_steps=FEW_STEPS + 4)  # it skips none of fewer
        if job.model == "wan21_i2v":
            shot = replace(SHOT, task=Task.IMAGE_TO_VIDEO)
        with self._loaded(job) as backend:
            if job.kind == "once":
                return {"s": self._generate(backend, shot)[0]}
            seconds, expected = self._generate(backend, shot)
            if job.kind == "cancel":
                self._cancel(backend, shot)
            else:
                for width, height, frames in SIZES[1:]:
                    other = replace(shot, width=width, height=height, num_frames=frames)
                    seconds += self._generate(backend, other)[0]
            again, digest = self._generate(backend, shot)
        if digest != expected:
            raise AssertionError("the same seed gave other frames after another job")
        return {"s": seconds + again}

    def _save(self, name: str) -> Path:
        return small.save(name, self._session.folder / name)

    def _cancel(self, backend: DiffusersBackend, shot: Shot) -> None:
        """Run a job that is cancelled after its first step."""
        context = RecordingContext(self._session.folder, image=self._image, cancel_after=2)
        try:
            for _ in backend.generate(shot, context).frames:
                raise AssertionError("the cancelled job went on")
        except JobCancelled:
            return

    @contextmanager
    def _loaded(self, job: Job) -> Generator[DiffusersBackend]:
        source = str(self._saved(job.model))
        backend: DiffusersBackend = load_object(BACKENDS[job.model])(source, job.options)
        backend.load(str(self._session.device))
        try:
            yield backend
        finally:
            backend.unload()

    def _generate(self, backend: DiffusersBackend, shot: Shot) -> tuple[float, str]:
        """Return how long a job took, and a digest of its frames.

        Raises:
            AssertionError: The frames are not those of a video.
        """
        began = time.perf_counter()
        stream = backend.generate(shot, RecordingContext(self._session.folder, image=self._image))
        frames = np.stack(list(stream.frames))
        seconds = time.perf_counter() - began
        expected = (shot.num_frames, shot.height, shot.width, 3)
        if frames.shape != expected:
            raise AssertionError(f"the frames have the shape {frames.shape}, not {expected}")
        if frames.min() == frames.max():
            raise AssertionError("all pixels are the same: not a number, or nothing was generated")
        track = stream.audio() if stream.audio else None
        if track is not None and not np.isfinite(track.samples).all():
            raise AssertionError("the audio is not finite")
        return seconds, hashlib.sha256(frames.tobytes()).hexdigest()
