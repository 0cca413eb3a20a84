"""How fast the diffusers backends are beside the plain diffusers call, in the same process and run.

    python tests/benchmarks/gpu.py                                  # all models, in under ten minutes
    python tests/benchmarks/gpu.py --models wan22 --output table.md

On a GPU it runs full-size architectures whose random weights are made there: nothing is downloaded, and
speed does not depend on the values. Without one it runs the same with tiny models, as its test does. A run
makes as many steps as it takes to time one, and computes the whole video's time from that.
"""

import argparse
import gc
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog
import torch
from diffusers import LTX2Pipeline, WanImageToVideoPipeline, WanPipeline
from diffusers.utils import encode_video, export_to_video
from msgspec.structs import replace
from PIL import Image

from framegate.core.backend import FrameStream
from framegate.core.errors import JobCancelled
from framegate.core.plugins import load_object
from framegate.core.testing import gradient_png
from framegate.core.types import Shot, Task
from framegate.media.video.encode import VideoEncoder
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.loading.pipelines import silence_logging
from framegate.plugins.diffusers.step_cache import UNCACHED_STEPS
from tests.benchmarks import full_size

GIB = 2**30
CACHE_INTERVAL = 3
CACHED: dict[str, Any] = {"cache": "taylorseer", "cache_interval": CACHE_INTERVAL}
"""The step cache whose saving does not depend on what the weights are."""
COLUMNS = (
    "run",
    "s/step",
    "×",
    "steps",
    "denoising s",
    "×",
    "ms before the first step, in the first job and the next",
    "rest s",
    "video s",
    "×",
    "first video s",
    "peak GiB",
)
NONE: dict[str, Any] = {"attention": "native", "compile": False}


@dataclass(frozen=True)
class Case:
    """A model: its backend, its architecture, and the video that is requested."""

    name: str
    title: str
    backend: str
    pipeline: type[Any]
    full: Callable[[], Any]
    precise: Mapping[str, torch.dtype]
    shot: Shot
    few_steps: int


VIDEO = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="A cat walks on the grass, realistic",
    negative_prompt="blurred, static, low quality",
    width=1280,
    height=704,
    num_frames=121,
    fps=24.0,
    seed=0,
    num_inference_steps=50,
    guidance_scale=5.0,
)
FLOAT32_PARTS = {"vae": torch.float32, "image_encoder": torch.float32}
CASES = [
    Case(
        "wan22",
        "Wan2.2-TI2V-5B, 1280×704, 121 frames",
        "framegate.plugins.wan22.backend:Wan22Backend",
        WanPipeline,
        full_size.wan22_ti2v,
        FLOAT32_PARTS,
        VIDEO,
        few_steps=4,
    ),
    Case(
        "wan21",
        "Wan2.1-I2V-14B-480P, 832×480, 81 frames",
        "framegate.plugins.wan21.backend:Wan21Backend",
        WanImageToVideoPipeline,
        full_size.wan21_i2v,
        FLOAT32_PARTS,
        replace(
            VIDEO,
            task=Task.IMAGE_TO_VIDEO,
            width=832,
            height=480,
            num_frames=81,
            fps=16.0,
            num_inference_steps=30,
            guidance_scale=3.0,
        ),
        few_steps=4,
    ),
    Case(
        "ltx2",
        "LTX-2 19B, 1024×576, 121 frames with audio",
        "framegate.plugins.ltx2.backend:Ltx2Backend",
        LTX2Pipeline,
        full_size.ltx2,
        {},
        replace(VIDEO, width=1024, height=576, num_inference_steps=40, guidance_scale=4.0),
        few_steps=8,
    ),
]
TINY = {"wan22": "wan22_ti2v", "wan21": "wan21_i2v", "ltx2": "ltx2"}


@dataclass
class Times:
    """Seconds since a job began; ``steps``: when each ended. ``whole`` is 0 if the job stopped after them."""

    began: float = field(default_factory=time.perf_counter)
    first_step: float = 0.0
    steps: list[float] = field(default_factory=list[float])
    whole: float = 0.0

    def now(self) -> float:
        synchronize()
        return time.perf_counter() - self.began

    def step_seconds(self, steps: int, uncached: int = 0) -> float:
        """Return the mean over a video of ``steps``, of which the first ``uncached`` can't be predicted."""
        taken = [later - earlier for earlier, later in pairwise(self.steps)]
        if not uncached:
            return statistics.mean(taken)
        first, predicted = taken[: uncached - 1], taken[uncached - 1 :]
        return (uncached * statistics.mean(first) + (steps - uncached) * statistics.mean(predicted)) / steps


@dataclass(frozen=True)
class Row:
    """What one run showed, in seconds.

    ``waits`` are the milliseconds before the first step of the first and of the next job, ``rest`` is what a
    video takes beside denoising; None where only steps were timed.
    """

    name: str
    steps: int
    step: float
    waits: tuple[float, float]
    first_extra: float | None = None
    rest: float | None = None
    peak: float = 0.0

    @property
    def denoising(self) -> float:
        return self.step * self.steps


class Stopwatch:
    """A job's context, which notes when steps end and cancels the job after ``stop_after`` of them."""

    def __init__(self, folder: Path, image: Path, times: Times, stop_after: int | None = None) -> None:
        self.workdir = folder
        self.image = image
        self.last_image: Path | None = None
        self.video: Path | None = None
        self._times = times
        self._stop_after = stop_after
        self.num_partial_images = 0

    def report(self, step: int, total: int, message: str = "") -> None:
        if not message.startswith("step"):
            return
        self._times.steps.append(self._times.now())
        if len(self._times.steps) == self._stop_after:
            raise JobCancelled

    def report_partial_image(self, render: Callable[[], Any]) -> None:
        return

    def check_cancelled(self) -> None:
        return


class Bench:
    """The runs of one model on one device."""

    def __init__(self, case: Case, device: torch.device, folder: Path) -> None:
        self.case = case
        self.device = device
        self.folder = folder
        self.full = device.type == "cuda"
        self.shot = case.shot if self.full else _small(case.shot)
        self.image = gradient_png(folder / "image.png", self.shot.width, self.shot.height)
        source = folder / case.name
        if self.full:
            self.source = full_size.save_configs(case.full, source)
        else:
            self.source = testing.save(TINY[case.name], source)

    def plain(self) -> Row:
        """Time what diffusers' documentation does."""
        dtypes = {"default": torch.bfloat16, **self.case.precise}
        if self.full:
            pipeline = full_size.on_device(self.case.full, self.device, dtypes)
        else:
            pipeline = self.case.pipeline.from_pretrained(self.source, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        begin_peak()
        first, following = (self._plain_job(pipeline, steps) for steps in (2, 3))
        return self._row("plain diffusers", first, following, self.shot.num_inference_steps)

    def _plain_job(self, pipeline: Any, steps: int) -> Times:
        times, shot = Times(), self.shot

        def ended(pipeline: Any, index: int, step: object, tensors: dict[str, Any]) -> dict[str, Any]:
            times.steps.append(times.now())
            return {}

        arguments: dict[str, Any] = {
            "prompt": shot.prompt,
            "negative_prompt": shot.negative_prompt,
            "width": shot.width,
            "height": shot.height,
            "num_frames": shot.num_frames,
            "num_inference_steps": steps,
            "guidance_scale": shot.guidance_scale,
            "generator": torch.Generator("cpu").manual_seed(shot.seed),
            "callback_on_step_end": ended,
            "callback_on_step_end_tensor_inputs": [],
        }
        if shot.task == Task.IMAGE_TO_VIDEO:
            with Image.open(self.image) as image:
                arguments["image"] = image.convert("RGB")
        path = self.folder / "plain.mp4"
        with _noting_first_forward(pipeline.transformer, times):
            if self.case.pipeline is LTX2Pipeline:
                blocks = [min(29, len(pipeline.transformer.transformer_blocks) - 1)]
                made = pipeline(
                    **arguments,
                    frame_rate=shot.fps,
                    spatio_temporal_guidance_blocks=blocks,
                    output_type="np",
                )
                encode_video(
                    torch.from_numpy((made.frames[0] * 255).round().astype("uint8")),
                    fps=int(shot.fps),
                    audio=made.audio[0].float().cpu(),
                    audio_sample_rate=pipeline.vocoder.config.output_sampling_rate,
                    output_path=str(path),
                )
            else:
                export_to_video(pipeline(**arguments).frames[0], str(path), fps=int(shot.fps))
        times.whole = times.now()
        return times

    @contextmanager
    def loaded(self, options: Mapping[str, Any]) -> Generator[DiffusersBackend]:
        backend: DiffusersBackend = load_object(self.case.backend)(str(self.source), options)
        weights = full_size.random_weights(self.case.full, self.device) if self.full else nullcontext()
        with weights:
            backend.load(str(self.device))
        begin_peak()
        try:
            yield backend
        finally:
            backend.unload()

    def ours(self, name: str, options: Mapping[str, Any], *, whole: bool = False) -> Row:
        """Time two jobs with ``options``, up to their files if ``whole``, else until their last step."""
        with self.loaded(options) as backend:
            return self.run(name, backend, self.shot, cached="cache" in options, whole=whole)

    def run(
        self, name: str, backend: DiffusersBackend, shot: Shot, *, cached: bool = False, whole: bool = False
    ) -> Row:
        count = UNCACHED_STEPS + 2 * CACHE_INTERVAL if cached else 3
        uncached = UNCACHED_STEPS if cached else 0
        first = self._job(backend, replace(shot, num_inference_steps=2), stop_after=None if whole else 2)
        following = self._job(
            backend, replace(shot, num_inference_steps=count), stop_after=None if whole else count
        )
        return self._row(name, first, following, shot.num_inference_steps, uncached)

    def _job(self, backend: DiffusersBackend, shot: Shot, stop_after: int | None) -> Times:
        times = Times()
        context = Stopwatch(self.folder, self.image, times, stop_after)
        with _noting_first_forward(backend.loaded_engine.pipeline.transformer, times):
            try:
                self._encode(backend.generate(shot, context), shot)
            except JobCancelled:
                return times
        times.whole = times.now()
        return times

    def _encode(self, stream: FrameStream, shot: Shot) -> None:
        path = self.folder / "ours.mp4"
        with VideoEncoder(path, width=shot.width, height=shot.height, fps=shot.fps) as encoder:
            for frame in stream.frames:
                encoder.write(frame)
            encoder.finish(stream.audio() if stream.audio else None)

    def _row(self, name: str, first: Times, following: Times, steps: int, uncached: int = 0) -> Row:
        step = following.step_seconds(steps, uncached)
        done = following.steps[-1] - following.first_step
        return Row(
            name,
            steps,
            step,
            waits=(first.first_step * 1000, following.first_step * 1000),
            rest=following.whole - done if following.whole else None,
            first_extra=first.whole - first.first_step - 2 * step if first.whole else None,
            peak=peak(),
        )


def begin_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> float:
    return torch.cuda.max_memory_allocated() / GIB if torch.cuda.is_available() else 0.0


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def _noting_first_forward(transformer: Any, times: Times) -> Generator[None]:
    def entered(*arguments: object) -> None:
        if not times.first_step:
            times.first_step = times.now()

    handle = transformer.register_forward_pre_hook(entered)
    try:
        yield
    finally:
        handle.remove()


def _small(shot: Shot) -> Shot:
    return replace(shot, width=96, height=64, num_frames=17)


def measure(case: Case, device: torch.device, seconds: float) -> tuple[list[Row], list[str]]:
    """Return the rows of a model, and the names of those for which ``seconds`` were not enough."""
    rows: list[Row] = []
    left_out: list[str] = []
    deadline, longest = time.monotonic() + seconds, 0.0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(case, device, Path(folder))

        def exact() -> list[Row]:
            few = replace(bench.shot, num_inference_steps=case.few_steps, guidance_scale=1.0)
            with bench.loaded({}) as backend:
                return [
                    bench.run("exact: attention, compile", backend, bench.shot, whole=True),
                    bench.run(f"… {case.few_steps} steps, no guidance", backend, few, whole=True),
                ]

        def lever(name: str, whole: bool = False, **options: Any) -> tuple[str, Callable[[], list[Row]]]:
            return name, lambda: [bench.ours(name, options, whole=whole)]

        runs: Sequence[tuple[str, Callable[[], list[Row]]]] = (
            ("plain diffusers", lambda: [bench.plain()]),
            ("exact", exact),
            lever("exact and step cache", **CACHED),
            lever("all: exact, step cache, fp8", whole=True, quantize="fp8", **CACHED),
            lever("no lever", **NONE),
            lever("attention alone", compile=False),
            lever("compile alone", attention="native", compile=True),
            lever("compile and fp8", attention="native", compile=True, quantize="fp8"),
            lever("step cache alone", **NONE, **CACHED),
        )
        for name, run in runs:
            began = time.monotonic()
            if began + longest > deadline:
                left_out.append(f"{name} (no time left)")
                continue
            try:
                rows += run()
            except Exception as error:  # the other runs are worth having
                traceback.print_exc()
                left_out.append(f"{name} ({type(error).__name__})")
            longest = max(longest, time.monotonic() - began)
            forget()
    return rows, left_out


def forget() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.compiler.reset()
        torch.cuda.empty_cache()


def table(rows: Sequence[Row]) -> str:
    """Return them as Markdown; the first row is what the others are compared with."""
    plain = rows[0]
    lines = [
        f"| {' | '.join(COLUMNS)} |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        video = first = faster = rest = "–"
        if row.rest is not None and plain.rest is not None and row.first_extra is not None:
            seconds = row.denoising + row.rest
            video, faster = f"{seconds:.2f}", f"{(plain.denoising + plain.rest) / seconds:.2f}"
            rest = f"{row.rest:.2f} ({row.rest / seconds:.0%})"
            first = f"{row.waits[0] / 1000 + row.denoising + row.first_extra:.2f}"
        cells = [
            row.name,
            f"{row.step:.3f}",
            f"{plain.step / row.step:.2f}",
            str(row.steps),
            f"{row.denoising:.2f}",
            f"{plain.denoising / row.denoising:.2f}",
            f"{row.waits[0]:.0f}, {row.waits[1]:.0f}",
            rest,
            video,
            faster,
            first,
            f"{row.peak:.1f}" if row.peak else "–",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Compare Framegate's diffusers backends with plain diffusers."
    )
    parser.add_argument(
        "--models", nargs="+", choices=[case.name for case in CASES], default=[case.name for case in CASES]
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--seconds", type=float, default=540.0, help="for all of it; what does not fit is left out"
    )
    parser.add_argument("--output", type=Path, help="a file that the tables are written to as well")
    options = parser.parse_args(arguments)
    silence_logging()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    device = torch.device(options.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU, with tiny models"
    parts = [f"torch {torch.__version__}, on {where}."]
    print(parts[0])
    deadline = time.monotonic() + options.seconds
    cases = [case for case in CASES if case.name in options.models]
    for number, case in enumerate(cases):
        rows, left_out = measure(case, device, (deadline - time.monotonic()) / (len(cases) - number))
        part = f"### {case.title if device.type == 'cuda' else TINY[case.name] + ' in miniature'}\n\n"
        part += table(rows) if rows else "Nothing could be measured."
        if left_out:
            part += f"\n\nLeft out: {'; '.join(left_out)}."
        print(f"\n{part}", flush=True)
        parts.append(part)
        if options.output:
            options.output.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
