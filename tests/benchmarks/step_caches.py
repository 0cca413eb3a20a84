"""What the step caches save on a model and how far they lead from its exact results.

``python -m tests.benchmarks.step_caches wan21-t2v /models/Wan2.1-T2V-14B-Diffusers --device cuda``

The model is loaded once and generates the same shot with each cache, at its default size and steps unless
others are given. A line of JSON for each: the seconds for the whole job, the PSNR of its frames and, where
there is audio, how large the difference is beside the exact audio.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from framegate.core.backend import FrameStream
from framegate.core.fitting import fit
from framegate.core.plugins import discover, load_object
from framegate.core.testing import RecordingContext, gradient_png
from framegate.core.types import GenerationRequest, Shot, Task
from framegate.plugins.diffusers.backend import DiffusersBackend

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROMPT = "Two cats in boxing gloves fight on a spotlighted stage, their fur ruffled, the crowd blurred behind"


@dataclass(frozen=True)
class Row:
    """One job. ``psnr`` is in dB over all frames, None if they equal the exact ones."""

    cache: str
    seconds: float
    psnr: float | None
    audio_error: float | None


def measure(
    backend: DiffusersBackend, shot: Shot, context: RecordingContext, caches: Sequence[str]
) -> Iterator[Row]:
    """Yield a row for ``shot`` without a cache and with each of ``caches``, on the same loaded model.

    The exact job runs twice, so that none is measured that compiles.
    """
    from framegate.plugins.diffusers.step_cache.cache import StepCache

    engine = backend.loaded_engine
    configured = engine.step_cache
    _generate(backend, shot, context)
    exact: tuple[NDArray[np.uint8], NDArray[np.float32] | None] | None = None
    try:
        for cache in ("off", *caches):
            options = replace(engine.options, cache=cache)
            engine.step_cache = StepCache(options, engine.loaded.denoisers)
            started = time.perf_counter()
            frames, audio = _generate(backend, shot, context)
            seconds = time.perf_counter() - started
            exact = exact or (frames, audio)
            error = None
            if audio is not None and exact[1] is not None:
                error = float(np.abs(audio - exact[1]).mean() / np.abs(exact[1]).mean())
            yield Row(cache, round(seconds, 3), psnr(exact[0], frames), error)
    finally:
        engine.step_cache = configured


def psnr(exact: "NDArray[np.uint8]", frames: "NDArray[np.uint8]") -> float | None:
    """Return the peak signal-to-noise ratio of ``frames`` in dB, None if they equal ``exact``."""
    error = float(np.mean((exact.astype(np.float32) - frames) ** 2))
    return round(10 * float(np.log10(255**2 / error)), 2) if error else None


def _generate(
    backend: DiffusersBackend, shot: Shot, context: RecordingContext
) -> "tuple[NDArray[np.uint8], NDArray[np.float32] | None]":
    stream = backend.generate(shot, context)
    assert isinstance(stream, FrameStream)
    frames = np.stack(list(stream.frames))
    audio = stream.audio() if stream.audio else None
    return frames, None if audio is None else audio.samples


def main(arguments: Sequence[str]) -> None:
    """Measure the caches that ``arguments`` name, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--image", type=Path, help="for models that start from one")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--size", help="such as 832x480")
    parser.add_argument("--options", type=json.loads, default={}, help="the model's, as JSON")
    parser.add_argument("caches", nargs="*", default=["light", "strong"])
    given = parser.parse_args(arguments)
    spec = discover().models[given.model]
    task = next(task for task in Task if task in spec.tasks)
    width, height = map(int, given.size.split("x")) if given.size else (None, None)
    request = GenerationRequest(
        model=given.model,
        task=task,
        prompt=given.prompt,
        width=width,
        height=height,
        num_frames=given.frames,
        num_inference_steps=given.steps,
    )
    fitted = fit(spec, request)
    shot = Shot(
        task=task,
        prompt=given.prompt,
        width=fitted.width,
        height=fitted.height,
        num_frames=fitted.num_frames,
        fps=fitted.fps,
        seed=42,
        num_inference_steps=fitted.num_inference_steps,
        guidance_scale=fitted.guidance_scale,
    )
    backend: DiffusersBackend = load_object(spec.backend)(given.source, given.options)
    backend.load(given.device)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = given.image or gradient_png(folder / "gradient.png")
        context = RecordingContext(folder, image=image, last_image=image)
        for row in measure(backend, shot, context, given.caches):
            print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
