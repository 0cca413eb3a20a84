"""Step caches: skip work in steps that hardly differ from the last one. None of them is exact."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
from diffusers import FirstBlockCacheConfig, MagCacheConfig, TaylorSeerCacheConfig

from framegate.plugins.diffusers.options import Options

UNCACHED_STEPS = 3
"""Steps of a job before any is predicted; they lay out the image."""
# A number of steps that calibration never reaches, where diffusers would print the ratios and drop them.
_ENDLESS = 10_000
log = structlog.get_logger(__name__)


class StepCache:
    """The step cache of a model's transformers, enabled for each job.

    "magcache" measures its ratios in the first job of each number of steps, which is therefore no faster.
    """

    def __init__(self, options: Options, transformers: Sequence[Any]) -> None:
        self._options = options
        self._transformers = transformers
        self._ratios: dict[int, tuple[list[float], ...]] = {}

    @contextmanager
    def enabled(self, steps: int) -> Generator[None]:
        """Enable the cache for one job of ``steps`` denoising steps."""
        if self._options.cache == "none":
            yield
            return
        measured = self._ratios.get(steps)
        for number, transformer in enumerate(self._transformers):
            transformer.enable_cache(self._config(steps, None if measured is None else measured[number]))
        try:
            yield
        finally:
            for transformer in self._transformers:
                transformer.disable_cache()

    def on_step_end(self, index: int, steps: int) -> None:
        """Keep the ratios at the last step of a job that measures them; pipelines drop them on return."""
        if self._options.cache != "magcache" or steps in self._ratios or index + 1 < steps:
            return
        self._ratios[steps] = tuple(_calibration_ratios(transformer) for transformer in self._transformers)
        log.info("step_cache_measured", steps=steps)

    def _config(self, steps: int, ratios: list[float] | None) -> Any:
        match self._options.cache:
            case "first-block":
                return FirstBlockCacheConfig(threshold=self._options.cache_threshold)
            case "taylorseer":
                return TaylorSeerCacheConfig(
                    cache_interval=self._options.cache_interval,
                    disable_cache_before_step=UNCACHED_STEPS,
                    use_lite_mode=True,  # the full mode does nothing for these models
                )
            case _ if ratios is None:
                return MagCacheConfig(calibrate=True, num_inference_steps=_ENDLESS)
            case _:
                return MagCacheConfig(
                    mag_ratios=ratios, num_inference_steps=steps, threshold=self._options.cache_threshold
                )


def _calibration_ratios(transformer: Any) -> list[float]:
    """Return the ratios of the conditional forward passes."""
    for module in transformer.modules():
        registry: Any = getattr(module, "_diffusers_hook", None)
        hook = None if registry is None else registry.get_hook("mag_cache_leader_block_hook")
        if hook is not None:
            states: dict[str, Any] = hook.state_manager._state_cache
            return list(states["cond"].calibration_ratios) if "cond" in states else []
    return []
