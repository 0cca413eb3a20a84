"""Switch the optimisations of a loaded backend by the functions that loading it calls."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from framegate.core.types import Shot, ShotSize
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.loading.attention import set_attention_backend
from framegate.plugins.diffusers.loading.compiling import compile_blocks, restore_eager, should_compile
from framegate.plugins.diffusers.loading.probes import Decisions
from framegate.plugins.diffusers.loading.quantization import quantize
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.activations import attention_tokens
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
    """The optimisations of ``backend``, which was loaded without any.

    "auto" measures attention at the size of ``shot``, and keeps what it found in ``folder``.
    """

    def __init__(self, backend: DiffusersBackend, shot: Shot, folder: Path) -> None:
        self._engine = backend.loaded_engine
        self._tokens = _tokens(self._engine.pipeline, shot)
        self._decisions = Decisions(folder)
        self._set = Levers()

    def set(self, levers: Levers) -> str:
        """Switch to ``levers``; return what was chosen where they leave it open, "" if nothing.

        Raises:
            RuntimeError: The attention backend can't run here, or weights would have to be restored.
        """
        models, device = self._engine.loaded.denoisers, self._engine.device
        options = structs.replace(
            self._engine.options,
            attention=levers.attention,
            compile=levers.compiled,
            cache=levers.cache,
            quantize=levers.quantized,
        )
        restore_eager(*models)
        if levers.quantized != self._set.quantized:
            self._quantize(options)
        compiled = levers.compiled and should_compile(options, device)
        chosen = self._set_attention(options, compiled=compiled)
        if compiled:
            compile_blocks(*models)
        self._engine.step_cache = StepCache(options, models)
        self._set = levers
        return chosen

    def _set_attention(self, options: Options, *, compiled: bool) -> str:
        loaded = self._engine.loaded
        chosen = set_attention_backend(
            loaded.denoisers,
            options,
            self._engine.device,
            loaded.dtype,
            tokens=self._tokens,
            compiled=compiled,
            decisions=self._decisions,
        )
        if options.attention == "auto":
            return f"attention {chosen}"
        if chosen != options.attention:
            raise RuntimeError(f"the attention backend {options.attention!r} can't run here")
        return ""

    def _quantize(self, options: Options) -> None:
        if self._set.quantized != "none":
            raise RuntimeError(f"weights in {self._set.quantized} can't be brought back")
        device = self._engine.device
        for model in self._engine.loaded.denoisers:
            quantize(model, options, device, self._engine.loaded.dtype, home=device)
        self._set = replace(self._set, quantized=options.quantize)


def _tokens(pipeline: Any, shot: Shot) -> int:
    """Return the tokens of the self-attention for ``shot``."""
    denoiser, vae = (
        {**model.config, "_class_name": type(model).__name__}
        for model in (pipeline.transformer, pipeline.vae)
    )
    return attention_tokens(denoiser, vae, ShotSize(shot.width, shot.height, shot.num_frames))
