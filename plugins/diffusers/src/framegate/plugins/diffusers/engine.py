"""The base of every loaded model. Imports torch, so only a backend's `load` may import it."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import structlog
import torch
from PIL import Image

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.types import Shot, ShotSize, Task
from framegate.plugins.diffusers.cancellation import CancelPoints
from framegate.plugins.diffusers.embedding_cache import EmbeddingCache
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.loading.pipelines import LoadedPipeline, load_pipeline
from framegate.plugins.diffusers.loading.placement import capacity_of, plan_shot
from framegate.plugins.diffusers.memory import oom_as_job_error
from framegate.plugins.diffusers.options import Lora, Options
from framegate.plugins.diffusers.planning.memory import ModelMemory
from framegate.plugins.diffusers.step_cache.cache import StepCache
from framegate.plugins.diffusers.step_cache.schedules import DEFAULT_LEVELS, Levels, check_cache
from framegate.plugins.diffusers.tiling import Tiling

if TYPE_CHECKING:
    from framegate.core.backend import Frame

log = structlog.get_logger(__name__)


class Engine(ABC):
    """One model on one device, running one job at a time.

    A family implements `load` and `generate`. In `load` it calls `load_pipeline`, builds what its jobs need,
    and calls `warm_up`. `generate` runs a job's frames through `stream`, with ``oom_as_job_error`` around
    each stage of the work.
    """

    has_mag_ratios: ClassVar[bool] = False
    """Whether `cache_levels` has MagCache's ratios."""
    switched_loras: Mapping[str, Lora] = {}
    """LoRAs beside the weights that a family switches on itself, by name; set before `load_pipeline`."""
    loaded: LoadedPipeline
    memory: ModelMemory
    """What the model needs of the device's memory, once its folder is known."""
    step_cache: StepCache
    _stream: "Generator[Frame, None, None] | None" = None

    def __init__(self, source: str, options: Options, device: str, model_memory: "ModelMemoryOf") -> None:
        self.source = source
        self.options = options
        self._model_memory = model_memory
        self.device = torch.device("cuda:0" if device == "cuda" else device)
        self.embeddings = EmbeddingCache(options.prompt_cache, pinned=self.device.type == "cuda")
        self.cancel_points = CancelPoints(self.device)
        self.tiling = Tiling(options.vae_tiling, self.device)

    @abstractmethod
    def load(self) -> None:
        """Load the model and warm it up.

        Raises:
            GenerationFailed: The source or an option is wrong.
            OutOfMemory: The device has no room; the message says how much is needed.
        """

    @abstractmethod
    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        """Return the frames of ``shot``, which are generated while they are iterated over."""

    @property
    def pipeline(self) -> Any:
        """The pipeline that holds all components."""
        return self.loaded.pipeline

    def memory_needed(self) -> int:
        """Return the bytes that the weights will hold on the device between jobs."""
        memory = self._read_memory(fetch(self.source, self.options))
        if self.device.type != "cuda":
            return sum(memory.sizes.values())
        return memory.placement(capacity_of(self.device)).resident

    def load_pipeline(self, pipeline_class: type[Any], folder: Path) -> Any:
        """Load ``folder`` as ``pipeline_class`` with everything that the options ask for, and return it."""
        check_cache(self.options, has_ratios=self.has_mag_ratios)
        self.memory = self._read_memory(folder)
        self.loaded = load_pipeline(
            pipeline_class,
            folder,
            self.options,
            self.device,
            memory=self.memory,
            cancel_points=self.cancel_points,
            switched_loras=self.switched_loras,
        )
        self.step_cache = StepCache(self.options, self.loaded.denoisers)
        return self.loaded.pipeline

    def _read_memory(self, folder: Path) -> ModelMemory:
        # Apple's GPUs compute in the same dtypes as CUDA's.
        return self._model_memory(folder, on_cuda=self.device.type != "cpu")

    def cache_levels(self, shot: Shot) -> Levels:
        """Return what the step cache's levels are for ``shot``."""
        return DEFAULT_LEVELS

    def close(self) -> None:
        """Drop every reference to the model; the engine can't be used again."""
        if self._stream is not None:
            self._stream.close()
        # Frames of an abandoned job may still refer to this object.
        vars(self).clear()

    def stream(
        self, shot: Shot, context: GenerationContext, frames: "Generator[Frame, None, None]"
    ) -> "Generator[Frame, None, None]":
        """Return ``frames`` as those of the job that runs now, ``shot``, after ending the one before."""
        if self._stream is not None:
            self._stream.close()  # its job was abandoned while its frames were being encoded
        self._stream = self._within_job(shot, context, frames)
        return self._stream

    def _within_job(
        self, shot: Shot, context: GenerationContext, frames: "Generator[Frame, None, None]"
    ) -> "Generator[Frame, None, None]":
        with self._job(context):
            self._make_room(shot)
            yield from frames

    def _make_room(self, shot: Shot) -> None:
        """Place the weights again if ``shot`` is too large for how they are placed."""
        images = not shot.task.endswith("video")  # made one after the other
        size = ShotSize(shot.width, shot.height, 1 if images else shot.num_frames)
        offloader, capacity = self.loaded.offloader, capacity_of(self.device)
        needed = plan_shot(offloader.placement, self.options, self.memory, capacity, size)
        if needed is None:
            return
        log.info(
            "model_placed_again",
            why=f"a shot of {size} does not fit beside what is on the GPU",
            offload=needed.offload,
            before=offloader.placement.offload,
            **needed.phases,
        )
        with oom_as_job_error("moving weights off the device for", self.device, shot):
            offloader.change(needed)

    @contextmanager
    def _job(self, context: GenerationContext) -> Generator[None]:
        """Arm the cancel points for one job, and leave nothing of it in the models afterwards."""
        self.select_device()
        try:
            with self.cancel_points.armed(context.check_cancelled):
                yield
        finally:
            self.after_job()

    def after_job(self) -> None:
        """Bring the model back into the state that it had before the job."""
        self.pipeline.maybe_free_model_hooks()
        self.loaded.offloader.offload()

    def warm_up(self, task: Task) -> None:
        """Generate every size in ``options.warm_up`` once, so that what is compiled for it exists."""
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
                for _ in self.generate(shot, _WarmUpContext(Path(folder), task)).frames:
                    pass
            log.info("warmed_up", size=size, seconds=round(time.monotonic() - started, 1))

    def select_device(self) -> None:
        """Make this thread's CUDA streams and events those of the engine's device."""
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)

    def generator(self, seed: int) -> torch.Generator:
        """Return a fresh random generator, on the host so that every device draws the same noise."""
        return torch.Generator("cpu").manual_seed(seed)


def effective_strength(strength: float, num_inference_steps: int) -> float:
    """Return ``strength``, raised where it would leave an image or video without a single step."""
    return max(strength, (1 + 1e-6) / num_inference_steps)


class ModelMemoryOf(Protocol):
    """Return what the model in a folder needs of a device's memory: `DiffusersBackend.model_memory`."""

    def __call__(self, folder: Path, *, on_cuda: bool) -> ModelMemory:
        """Return it."""
        ...


class _WarmUpContext:
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
