"""Switch the optimisations of a loaded backend by the functions that loading it calls."""

from dataclasses import dataclass, replace

import msgspec
from msgspec import structs

from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.loading.attention import set_attention_backend
from framegate.plugins.diffusers.loading.compiling import (
    DEFAULT_CACHE,
    compile_blocks,
    restore_eager,
    should_compile,
)
from framegate.plugins.diffusers.loading.probes import Decisions
from framegate.plugins.diffusers.loading.quantization import quantize
from framegate.plugins.diffusers.step_cache.cache import StepCache

CACHES = ("light", "strong")
"""The step caches that are measured."""


@dataclass(frozen=True)
class Levers:
    """Which optimisations are on; by default none."""

    attention: str = "native"
    compiled: bool = False
    cache: str = "off"
    quantized: str = "none"

    def with_cache(self, cache: str) -> "Levers":
        """Return these and a step cache."""
        return replace(self, cache=cache)


OPTIMISED = Levers(attention="auto", compiled=True)
"""What a backend chooses by itself on CUDA; none of it changes a result."""
QUANTIZED = replace(OPTIMISED, quantized="fp8")
EXACT, FEW_STEPS, FP8 = "exact", "exact, no guidance", "exact and fp8"
"""The rows that targets are computed from."""


class Switchboard:
    """The optimisations of ``backend``, which was loaded without any."""

    def __init__(self, backend: DiffusersBackend) -> None:
        self._engine = backend.loaded_engine
        self._set = Levers()

    def set(self, levers: Levers) -> str:
        """Switch to ``levers``; return what was chosen where they leave it open, "" if nothing.

        Raises:
            RuntimeError: The attention backend can't run here, or weights would have to be restored.
        """
        models, device = self._engine.loaded.denoisers, self._engine.device
        restore_eager(*models)
        chosen = self._set_attention(levers)
        if levers.quantized != self._set.quantized:
            self._quantize(levers.quantized)
        options = structs.replace(
            self._engine.options, quantize=levers.quantized, cache=levers.cache, compile=levers.compiled
        )
        if levers.compiled and should_compile(options, device):
            compile_blocks(*models)
        self._engine.step_cache = StepCache(options, models)
        self._set = levers
        return chosen

    def _set_attention(self, levers: Levers) -> str:
        engine = self._engine
        options = msgspec.convert({"attention": levers.attention}, type(engine.options))
        chosen = set_attention_backend(
            engine.loaded.denoisers,
            options,
            engine.device,
            engine.loaded.dtype,
            tokens=engine.memory.attention_tokens,
            compiled=levers.compiled,
            decisions=Decisions(DEFAULT_CACHE.expanduser()),
        )
        if levers.attention == "auto":
            return f"attention {chosen}"
        if chosen != levers.attention:
            raise RuntimeError(f"the attention backend {levers.attention!r} can't run here")
        return ""

    def _quantize(self, kind: str) -> None:
        if self._set.quantized != "none":
            raise RuntimeError(f"weights in {self._set.quantized} can't be brought back")
        options = structs.replace(self._engine.options, quantize=kind)
        device = self._engine.device
        for model in self._engine.loaded.denoisers:
            quantize(model, options, device, self._engine.loaded.dtype, home=device)
