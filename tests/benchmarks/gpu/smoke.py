"""Whether the backends work at all on this machine: small models, one job or a few for each row."""

import hashlib
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from msgspec.structs import replace

from framegate.core.errors import JobCancelled
from framegate.core.plugins import load_object
from framegate.core.testing import RecordingContext, gradient_png
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.backend import DiffusersBackend
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
EAGER: dict[str, Any] = {"compile": False}
SHOT = replace(VIDEO, width=128, height=64, num_frames=9, num_inference_steps=4)
SIZES = ((128, 64, 9), (64, 128, 17), (192, 64, 9))
OFFLOADS = ("none", "model", "group")
QUANTIZED = ("int8", "fp8-layerwise")


def measure(session: Session, names: Sequence[str]) -> None:
    """Run every row; ``names`` are not used."""
    Smoke(session).run()


class Smoke:
    """The rows, which share the models' folders."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._image = gradient_png(session.folder / "image.png", SHOT.width, SHOT.height)
        self._saved = cache(lambda name: small.save(name, session.folder / name))

    def run(self) -> None:
        """Measure: what needs no compiler first."""
        run, ti2v, chosen = self._session.run, "wan22_ti2v", "as it is chosen, three sizes"
        run(ti2v, [self._job(ti2v, f"offload {way}", offload=way, **EAGER) for way in OFFLOADS])
        run(ti2v, [self._job(ti2v, kind, quantize=kind, **EAGER) for kind in QUANTIZED])
        run(ti2v, [Step("cancel, then a job", self._cancel)])
        run(ti2v, [self._job(ti2v, f"cache {name}", cache=name, **EAGER) for name in CACHES])
        run("wan21_i2v", [self._job("wan21_i2v", "eager", task=Task.IMAGE_TO_VIDEO, **EAGER)])
        run("wan22_a14b_t2v", [self._job("wan22_a14b_t2v", "eager", **EAGER)])
        run("ltx2", [self._job("ltx2", "eager", **EAGER)])
        run("ltx23", [Step(chosen, lambda: self._sizes("ltx23"))])
        run("ltx2", [Step(chosen, lambda: self._sizes("ltx2"))])
        run(ti2v, [Step(chosen, lambda: self._sizes(ti2v))])
        run("wan22_a14b_t2v", [self._job("wan22_a14b_t2v", "as it is chosen")])
        run(ti2v, [self._job(ti2v, "fp8", quantize="fp8")])

    def _job(self, model: str, name: str, task: Task = Task.TEXT_TO_VIDEO, **options: Any) -> Step:
        def run() -> Measured:
            with self._loaded(model, options) as backend:
                return {"s": self._generate(backend, replace(SHOT, task=task))[0]}

        return Step(name, run)

    def _sizes(self, model: str) -> Measured:
        """Run guided jobs of three sizes, then the first again, whose bits must be those of before."""
        with self._loaded(model, {}) as backend:
            jobs = [
                self._generate(backend, replace(SHOT, width=width, height=height, num_frames=frames))
                for width, height, frames in (*SIZES, SIZES[0])
            ]
        if jobs[0][1] != jobs[-1][1]:
            raise AssertionError("the same seed gave other frames after jobs of other sizes")
        return {"s": sum(seconds for seconds, _ in jobs)}

    def _cancel(self) -> Measured:
        """Cancel a job after its first step; the next must have the bits of one in a fresh model."""
        with self._loaded("wan22_ti2v", EAGER) as backend:
            expected = self._generate(backend, SHOT)[1]
            context = RecordingContext(self._session.folder, cancel_after=2)
            try:
                for _ in backend.generate(SHOT, context).frames:
                    raise AssertionError("the cancelled job went on")
            except JobCancelled:
                pass
            seconds, digest = self._generate(backend, SHOT)
        if digest != expected:
            raise AssertionError("the job after the cancelled one gave other frames")
        return {"s": seconds}

    @contextmanager
    def _loaded(self, model: str, options: dict[str, Any]) -> Generator[DiffusersBackend]:
        backend: DiffusersBackend = load_object(BACKENDS[model])(str(self._saved(model)), options)
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
