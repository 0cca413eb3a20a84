"""The backend that every diffusers model is based on. It imports nothing heavy before `load`."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from msgspec.structs import replace

from framegate.core.backend import Backend, FrameStream, GenerationContext, HubDownload, MemoryPlan
from framegate.core.errors import GenerationFailed
from framegate.core.hub_cache import cached_snapshot, is_hub_id
from framegate.core.options import parse_table
from framegate.core.plugins import load_object
from framegate.core.types import Shot, ShotSize
from framegate.plugins.diffusers.environment import set_library_defaults
from framegate.plugins.diffusers.files import find_missing_files, missing_components
from framegate.plugins.diffusers.hub_files import lora_files, pipeline_files
from framegate.plugins.diffusers.options import Lora, Options, is_gguf
from framegate.plugins.diffusers.planning.memory import ModelMemory, Passes
from framegate.plugins.diffusers.planning.model_folder import component_sizes, dtype_names, lora_size
from framegate.plugins.diffusers.planning.placement import RESERVED
from framegate.plugins.diffusers.requirements import require

if TYPE_CHECKING:
    from framegate.plugins.diffusers.engine import Engine


_UNKNOWN_SIZE = ShotSize(1280, 720, 121)
"""What memory is planned for where no spec says it."""


class DiffusersBackend(Backend):
    """Load ``engine`` ("module:Class" of an `Engine`) and pass every shot to it.

    A subclass sets ``engine``, ``install`` (the command that installs what is missing) and, where it has
    options of its own, ``options_kind``; and where they differ from the usual ``precise``, `passes` and
    `extra_sizes`.
    """

    engine: ClassVar[str]
    install: ClassVar[str]
    options_kind: ClassVar[type[Options]] = Options
    precise: ClassVar[Mapping[str, str]] = {}
    """The components that keep a dtype of their own on CUDA, such as ``{"vae": "float32"}``."""

    _loaded_engine: "Engine | None" = None

    @property
    def loaded_engine(self) -> "Engine":
        """The engine, between `load` and `unload`."""
        assert self._loaded_engine is not None, "load comes first"
        return self._loaded_engine

    def load(self, device: str) -> None:
        """Load the model and run its warm-up.

        Raises:
            ConfigError: An option doesn't exist or has a value that it can't have.
            GenerationFailed: A package is missing, or the source or an option is wrong.
            OutOfMemory: The device has no room for it.
        """
        if device == "mps":  # torch reads it when it is imported
            os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
        engine = self._create_engine(device)
        from framegate.plugins.diffusers.memory import oom_as_job_error

        engine.select_device()
        with oom_as_job_error("loading the model", engine.device):
            engine.load()
        self._loaded_engine = engine

    def check_files(self) -> Sequence[str]:
        """Return what is missing of the source, its components, weights and LoRAs."""
        options = self.parsed_options()
        return find_missing_files(self.source, options, self.named_loras(options))

    def hub_downloads(self) -> Sequence[HubDownload]:
        """Return the source and the LoRAs, as far as they are on the hub."""
        options = self.parsed_options()
        needed = [
            HubDownload(
                "source", self.source, partial(pipeline_files, variant=options.variant), options.revision
            )
        ]
        for setting, lora in self.named_loras(options).items():
            select = partial(lora_files, weight_name=lora.weight_name)
            needed.append(HubDownload(setting, lora.source, select, lora.revision))
        return [each for each in needed if is_hub_id(each.repository)]

    def parsed_options(self) -> Options:
        """Return the options as what they are declared as.

        Raises:
            ConfigError: An option doesn't exist or has a value that it can't have.
        """
        return parse_table("options", self.options, self.options_kind)

    def named_loras(self, options: Options) -> dict[str, Lora]:
        """Return all LoRAs of the options by the options' names."""
        return {f"loras[{index}]": lora for index, lora in enumerate(options.loras)}

    def memory_needed(self, device: str) -> int:
        """Return the bytes that the weights will hold on ``device`` between jobs, as they will be placed.

        A hub id is downloaded first, which `load` would do otherwise.

        Raises:
            GenerationFailed: The source is wrong, or it can't be downloaded.
        """
        return self._create_engine(device).memory_needed()

    def plan_memory(self, capacity: int) -> MemoryPlan:
        """Return what the model needs and how it would be placed on a GPU of ``capacity`` bytes."""
        folder = Path(self.source).expanduser()
        if not folder.is_dir():
            snapshot = cached_snapshot(self.source)
            if snapshot is None:
                raise GenerationFailed(f"{self.source} is not on this host, so its size is not known.")
            missing = missing_components(snapshot, self.parsed_options())
            folder = snapshot
        else:
            missing = list(self.check_files())
        if missing:
            raise GenerationFailed(f"Files are missing on this host: {'; '.join(missing)}.")
        memory = self.model_memory(folder, on_cuda=True)
        plan = _plan(memory, memory.size, capacity)
        if self.largest_size in (None, memory.size):
            return plan
        return replace(plan, largest=_plan(memory, self.largest_size or memory.size, capacity))

    def model_memory(self, folder: Path, *, on_cuda: bool) -> ModelMemory:
        """Return what the model in ``folder`` needs of a device's memory.

        Raises:
            GenerationFailed: A file of the folder can't be read.
        """
        options = self.parsed_options()
        dtypes = dtype_names(options, self.precise, on_cuda=on_cuda)
        return ModelMemory(
            folder,
            options,
            dtypes,
            size=self.planned_size or _UNKNOWN_SIZE,
            passes=lambda size: self.passes(options, size),
            extra=self.extra_sizes(folder, options, dtypes),
        )

    def passes(self, options: Options, size: ShotSize) -> Passes:
        """Return the sizes at which a shot of ``size`` is denoised, each with the samples of a pass."""
        return [(size, 1)]

    def extra_sizes(self, folder: Path, options: Options, dtypes: Mapping[str, str]) -> dict[str, int]:
        """Return the bytes that components take in addition to the folder's weights.

        LoRAs are merged, but for those of quantised weights, which stay beside them.
        """
        extra: dict[str, int] = {}
        for lora in options.loras:
            if is_gguf(options, lora.component):
                weights = component_sizes(folder, options, dtypes).get(lora.component, 0)
                extra[lora.component] = extra.get(lora.component, 0) + lora_size(lora, weights)
        return extra

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        """Return the frames of ``shot``, and its audio where the model makes any."""
        return self.loaded_engine.generate(shot, context)

    def unload(self) -> None:
        """Drop the model and free the device's memory."""
        if self._loaded_engine is None:
            return
        from framegate.plugins.diffusers.memory import release

        device = self._loaded_engine.device
        self._loaded_engine.close()
        self._loaded_engine = None
        release(device)

    def _create_engine(self, device: str) -> "Engine":
        require(self.install)
        set_library_defaults()
        engine_class: type[Engine] = load_object(self.engine)
        return engine_class(self.source, self.parsed_options(), device, self.model_memory)


def _plan(memory: ModelMemory, size: ShotSize, capacity: int) -> MemoryPlan:
    placement, activations = memory.placement(capacity, size=size), memory.activations(size)
    return MemoryPlan(
        size=size,
        weights=memory.sizes,
        activations={
            "encode": activations.encode,
            "condition": activations.condition,
            "denoise": activations.denoise,
            "decode": activations.decode_tiled if placement.tiled else activations.decode,
        },
        offload=placement.offload,
        phases=placement.phases,
        peak=placement.peak + RESERVED,
        fits=placement.peak + RESERVED <= capacity,
        note="decodes in tiles" if placement.tiled else "",
    )
