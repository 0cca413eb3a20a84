"""The backend that every diffusers model is based on. It imports nothing heavy before `load`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.options import parse_table
from framegate.core.plugins import load_object
from framegate.core.types import Shot
from framegate.plugins.diffusers.files import find_missing_files
from framegate.plugins.diffusers.options import Lora, Options
from framegate.plugins.diffusers.requirements import require

if TYPE_CHECKING:
    from framegate.plugins.diffusers.engine import Engine


class DiffusersBackend(Backend):
    """Load ``engine`` ("module:Class" of an `Engine`) and pass every shot to it.

    A subclass sets ``engine``, ``install`` (the command that installs what is missing) and, where it has
    options of its own, ``options_kind``.
    """

    engine: ClassVar[str]
    install: ClassVar[str]
    options_kind: ClassVar[type[Options]] = Options

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
        """Return the bytes that the weights will take on ``device``; 0 before a hub id is downloaded."""
        return self._create_engine(device).memory_needed()

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
        engine_class: type[Engine] = load_object(self.engine)
        return engine_class(self.source, self.parsed_options(), device)
