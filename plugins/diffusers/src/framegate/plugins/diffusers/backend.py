"""The part of a backend that imports nothing heavy."""

from typing import TYPE_CHECKING, ClassVar

import structlog

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.plugins import load_object
from framegate.core.types import Shot
from framegate.plugins.diffusers.options import Options, read_options
from framegate.plugins.diffusers.requirements import require

if TYPE_CHECKING:
    from framegate.plugins.diffusers.engine import Engine

log = structlog.get_logger(__name__)


class DiffusersBackend(Backend):
    """Loads ``engine`` ("module:Class" of an `Engine`) and hands every shot to it.

    A subclass sets ``engine``, ``install`` (the command that brings what is missing) and, where it has
    options of its own, ``options_kind``.
    """

    engine: ClassVar[str]
    install: ClassVar[str]
    options_kind: ClassVar[type[Options]] = Options

    _running: "Engine | None" = None

    def load(self, device: str) -> None:
        require(self.install)
        options = read_options(self.options, self.options_kind)
        from framegate.plugins.diffusers.memory import oom_as_job_error

        engine_class: type[Engine] = load_object(self.engine)
        engine = engine_class(self.source, options, device)
        engine.select_device()
        with oom_as_job_error("loading the model", engine.device):
            engine.load()
        self._running = engine

    def memory_needed(self, device: str) -> int:
        require(self.install)
        options = read_options(self.options, self.options_kind)
        engine_class: type[Engine] = load_object(self.engine)
        return engine_class(self.source, options, device).memory_needed()

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        assert self._running is not None, "load comes first"
        return self._running.generate(shot, context)

    def unload(self) -> None:
        if self._running is None:
            return
        from framegate.plugins.diffusers.memory import release

        device = self._running.device
        self._running.close()
        self._running = None
        release(device)
