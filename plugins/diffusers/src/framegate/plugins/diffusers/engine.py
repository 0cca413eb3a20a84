"""A model that is loaded: what every family of pipelines shares. Imports torch; only `load` leads here."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

# Read by diffusers when it is imported.
os.environ.setdefault("HF_ENABLE_PARALLEL_LOADING", "YES")

import torch
from PIL import Image

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.cancellation import CancelPoints
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.prompts import EmbeddingCache

log = structlog.get_logger(__name__)


class _WarmUp:
    """The context of a shot that nobody waits for."""

    def __init__(self, workdir: Path, task: Task) -> None:
        grey = workdir / "grey.png"
        Image.new("RGB", (64, 64), "grey").save(grey)
        self.workdir = workdir
        self.image = self.last_image = grey if task == Task.IMAGE_TO_VIDEO else None
        self.video = None
        self.num_partial_images = 0

    def report(self, step: int, total: int, message: str = "") -> None:
        return

    def report_partial_image(self, render: Callable[[], Any]) -> None:
        return

    def check_cancelled(self) -> None:
        return


class Engine(ABC):
    """One model on one device, for one job at a time.

    A family implements `load`, `generate` and `close`. Around everything that runs for a job goes ``with
    self.job(context):``, around each stage of it ``with oom_as_job_error("denoising", self.device, shot):``.
    """

    def __init__(self, source: str, options: Options, device: str) -> None:
        self.source = source
        self.options = options
        self.device = torch.device("cuda:0" if device == "cuda" else device)
        self.prompts = EmbeddingCache(options.prompt_cache, pinned=self.device.type == "cuda")
        self.cancel_points = CancelPoints(self.device)

    @abstractmethod
    def load(self) -> None:
        """Raises:
        GenerationFailed: what is wrong with the source or the options.
        OutOfMemory: there is no room; says what it needs.
        """

    @abstractmethod
    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream: ...

    @abstractmethod
    def memory_needed(self) -> int:
        """Bytes that the model holds on a CUDA device while loaded, as far as can be told before; else 0."""

    def close(self) -> None:
        """Let go of everything; the object is not used again."""
        self.prompts.clear()

    @contextmanager
    def job(self, context: GenerationContext) -> Generator[None]:
        """Cancel points hold for this job, and nothing of it is left in the models afterwards."""
        self.select_device()
        try:
            with self.cancel_points.heed(context.check_cancelled):
                yield
        finally:
            self.after_job()

    def warm_up(self, task: Task) -> None:
        """Make every size of ``options.warm_up`` once, so that what is compiled for it is there."""
        for size in self.options.warm_up:
            width, height, num_frames = map(int, size.split("x"))
            shot = Shot(
                task=task,
                prompt="",
                width=width,
                height=height,
                num_frames=num_frames,
                fps=16,
                seed=0,
                num_inference_steps=2,
                guidance_scale=2.0,
            )
            started = time.monotonic()
            with TemporaryDirectory(prefix="framegate-") as folder:
                for _ in self.generate(shot, _WarmUp(Path(folder), task)).frames:
                    pass
            log.info("warmed_up", size=size, seconds=round(time.monotonic() - started, 1))

    def select_device(self) -> None:
        """Have this thread's streams and events be those of the device."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)

    @abstractmethod
    def after_job(self) -> None:
        """Bring the pipelines back into the state that they had before a job."""

    def generator(self, shot: Shot) -> torch.Generator:
        """A fresh one for each shot, on the host, so that every device draws the same noise."""
        return torch.Generator("cpu").manual_seed(shot.seed)
