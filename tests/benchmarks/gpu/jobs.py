"""Jobs whose steps are timed: by plain diffusers, and by a backend of ours."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers.utils import encode_video, export_to_video

from framegate.core.backend import FrameStream
from framegate.core.errors import JobCancelled
from framegate.core.types import Shot
from framegate.media.video.encode import VideoEncoder
from framegate.plugins.diffusers.backend import DiffusersBackend
from tests.benchmarks.gpu.models import is_ltx2
from tests.benchmarks.gpu.session import synchronize

PERTURBED_BLOCK = 29
"""The block that LTX-2's documentation perturbs for spatio-temporal guidance."""


@dataclass
class Times:
    """Seconds since a job began, read when ``device`` has done what was queued.

    ``steps`` say when each ended, ``counts`` what `our_steps` was to count by then; ``whole`` is 0 if the job
    stopped after them.
    """

    device: torch.device
    began: float = field(default_factory=time.perf_counter)
    first_forward: float = 0.0
    steps: list[float] = field(default_factory=list[float])
    counts: list[int] = field(default_factory=list[int])
    whole: float = 0.0

    def now(self) -> float:
        """Return the seconds until now."""
        synchronize(self.device)
        return time.perf_counter() - self.began

    @property
    def each_step(self) -> list[float]:
        """How long every step took, the first one included."""
        return [later - earlier for earlier, later in pairwise([self.first_forward, *self.steps])]

    @property
    def rest(self) -> float:
        """What the job took beside its steps."""
        return self.whole - (self.steps[-1] - self.first_forward)


class Stopwatch:
    """A job's context, which notes when steps end and cancels the job after ``stop_after`` of them."""

    def __init__(
        self,
        folder: Path,
        times: Times,
        stop_after: int | None = None,
        count: Callable[[], int] | None = None,
    ) -> None:
        self.workdir = folder
        self.image: Path | None = None
        self.last_image: Path | None = None
        self.video: Path | None = None
        self.num_partial_images = 0
        self._times = times
        self._stop_after = stop_after
        self._count = count

    def report(self, step: int, total: int, message: str = "") -> None:
        """Note the end of a step."""
        if not message.startswith("step"):
            return
        self._times.steps.append(self._times.now())
        if self._count is not None:
            self._times.counts.append(self._count())
        if len(self._times.steps) == self._stop_after:
            raise JobCancelled

    def report_partial_image(self, render: Callable[[], Any]) -> None:
        """Ignore it."""

    def check_cancelled(self) -> None:
        """Never stop a job between its steps."""


def plain_steps(pipeline: Any, shot: Shot, device: torch.device, steps: int) -> Times:
    """Time the first ``steps`` of what diffusers' documentation does for ``shot``."""
    times = Times(device)
    try:
        _call(pipeline, shot, times, stop_after=steps, output_type="latent")
    except JobCancelled:
        pipeline.maybe_free_model_hooks()
    return times


def plain_video(pipeline: Any, shot: Shot, device: torch.device, path: Path) -> Times:
    """Time what diffusers' documentation does for ``shot``, up to the file."""
    times = Times(device)
    if is_ltx2(pipeline):
        made = _call(pipeline, shot, times, output_type="np")
        encode_video(
            torch.from_numpy((made.frames[0] * 255).round().astype("uint8")),
            fps=int(shot.fps),
            audio=made.audio[0].float().cpu(),
            audio_sample_rate=pipeline.vocoder.config.output_sampling_rate,
            output_path=str(path),
        )
    else:
        made = _call(pipeline, shot, times, output_type="np")
        export_to_video(made.frames[0], str(path), fps=int(shot.fps))
    times.whole = times.now()
    return times


def _call(pipeline: Any, shot: Shot, times: Times, *, output_type: str, stop_after: int | None = None) -> Any:
    def ended(pipeline: Any, index: int, step: object, tensors: dict[str, Any]) -> dict[str, Any]:
        times.steps.append(times.now())
        if len(times.steps) == stop_after:
            raise JobCancelled
        return {}

    more: dict[str, Any] = {}
    if is_ltx2(pipeline):
        blocks = len(pipeline.transformer.transformer_blocks)
        more = {
            "frame_rate": shot.fps,
            "spatio_temporal_guidance_blocks": [min(PERTURBED_BLOCK, blocks - 1)],
        }
    with _noting_first_forward(pipeline, times):
        return pipeline(
            prompt=shot.prompt,
            negative_prompt=shot.negative_prompt,
            width=shot.width,
            height=shot.height,
            num_frames=shot.num_frames,
            num_inference_steps=shot.num_inference_steps,
            guidance_scale=shot.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(shot.seed),
            output_type=output_type,
            callback_on_step_end=ended,
            callback_on_step_end_tensor_inputs=[],
            **more,
        )


def our_steps(
    backend: DiffusersBackend,
    shot: Shot,
    folder: Path,
    steps: int,
    count: Callable[[], int] | None = None,
) -> Times:
    """Time the first ``steps`` of a job; ``count`` is called at the end of each."""
    times = Times(backend.loaded_engine.device)
    with _noting_first_forward(backend.loaded_engine.pipeline, times):
        stream = backend.generate(shot, Stopwatch(folder, times, steps, count))
        try:
            for _ in stream.frames:
                raise AssertionError("a frame came before the last step")
        except JobCancelled:
            pass
    return times


def our_video(backend: DiffusersBackend, shot: Shot, folder: Path) -> Times:
    """Time a job up to its file, as a worker makes it."""
    times = Times(backend.loaded_engine.device)
    with _noting_first_forward(backend.loaded_engine.pipeline, times):
        encode(backend.generate(shot, Stopwatch(folder, times)), shot, folder / "ours.mp4")
    times.whole = times.now()
    return times


def encode(stream: FrameStream, shot: Shot, path: Path) -> None:
    """Write a stream's video and audio to ``path``."""
    with VideoEncoder(path, width=shot.width, height=shot.height, fps=shot.fps) as encoder:
        for frame in stream.frames:
            encoder.write(frame)
        encoder.finish(stream.audio() if stream.audio else None)


@contextmanager
def _noting_first_forward(pipeline: Any, times: Times) -> Generator[None]:
    def entered(*arguments: object) -> None:
        if not times.first_forward:
            times.first_forward = times.now()

    handle = pipeline.transformer.register_forward_pre_hook(entered)
    try:
        yield
    finally:
        handle.remove()
