"""The step cache of a model, for one job after the other."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import structlog

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.progress import StepCallback
from framegate.plugins.diffusers.requirements import install_command
from framegate.plugins.diffusers.step_cache.schedules import (
    FEW_STEPS,
    Levels,
    Schedule,
    create_schedule,
    is_on,
)

if TYPE_CHECKING:
    from framegate.plugins.diffusers.step_cache.blocks import CachedTransformer

log = structlog.get_logger(__name__)


class StepCache:
    """The cache of ``transformers``, which hold nothing of it between jobs."""

    def __init__(self, options: Options, transformers: Sequence[Any]) -> None:
        """Prepare for the cache that ``options`` name.

        Raises:
            GenerationFailed: cache-dit is missing.
        """
        self._options = options
        self._transformers = _cacheable(options, transformers) if is_on(options) else []
        self._job: _Job | None = None

    @contextmanager
    def enabled(self, pipeline: Any, levels: Levels) -> Generator[None]:
        """Enable the cache for one call of ``pipeline``, whose callback has to come from `before`."""
        if not self._transformers:
            yield
            return
        self._job = _Job(self._options, levels, pipeline, self._transformers)
        try:
            yield
        finally:
            self._job.close()
            self._job = None

    def before(self, callback: StepCallback) -> StepCallback:
        """Return a callback that counts the step for the cache, then calls ``callback``."""

        def on_step_end(pipeline: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if self._job is not None:
                self._job.on_step_end()
            return callback(pipeline, index, timestep, tensors)

        return on_step_end


class _Job:
    """One call of a pipeline.

    A step may run a transformer several times (for guidance). The passes come in the same order in every
    step, so the number of a pass within its step tells whose cache it uses.
    """

    def __init__(self, options: Options, levels: Levels, pipeline: Any, transformers: Sequence[Any]) -> None:
        self._options = options
        self._levels = levels
        self._pipeline = pipeline
        self._step = 0
        self._passes = dict.fromkeys(transformers, 0)
        self._cached: dict[Any, CachedTransformer] = {}
        self._too_short: bool | None = None
        self._hooks = [
            transformer.register_forward_pre_hook(self._begin_pass, with_kwargs=True)
            for transformer in transformers
        ]

    def on_step_end(self) -> None:
        self._step += 1
        self._passes = dict.fromkeys(self._passes, 0)

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
        for cached in self._cached.values():
            cached.close()

    def _begin_pass(self, transformer: Any, arguments: object, named: dict[str, Any]) -> None:
        steps = int(self._pipeline.num_timesteps)
        if self._too_short is None:
            self._too_short = steps <= FEW_STEPS
            if self._too_short:
                log.info("option_unused", option="cache", why=f"{steps} steps leave none to skip")
        if self._too_short:
            return
        from framegate.plugins.diffusers.step_cache.blocks import CachedTransformer

        if transformer not in self._cached:
            self._cached[transformer] = CachedTransformer(transformer)
        self._passes[transformer] += 1
        self._cached[transformer].begin_pass(
            f"pass {self._passes[transformer]}", partial(self._schedule, transformer, steps), named
        )

    def _schedule(self, transformer: Any, steps: int) -> Schedule:
        pipeline, last = self._pipeline, steps
        boundary = pipeline.config.get("boundary_ratio")
        if boundary is not None and transformer is pipeline.transformer:
            noise = pipeline.scheduler.timesteps[-steps:]
            last = int((noise >= boundary * pipeline.scheduler.config.num_train_timesteps).sum())
        return create_schedule(self._options, self._levels, run=range(self._step, last), steps=steps)


def _cacheable(options: Options, transformers: Sequence[Any]) -> list[Any]:
    """Return those of ``transformers`` whose blocks can be skipped, and log which can't."""
    if find_spec("cache_dit") is None:
        raise GenerationFailed(
            f"options.cache = {options.cache!r} needs the package cache-dit on this worker; install with: "
            f"{install_command('diffusers')}"
        )
    from framegate.plugins.diffusers.step_cache.blocks import STACKS, silence_logging

    silence_logging()
    known = [transformer for transformer in transformers if type(transformer).__name__ in STACKS]
    for transformer in transformers:
        if transformer not in known:
            name = type(transformer).__name__
            log.info("option_unused", option="cache", why=f"the blocks of {name} can't be skipped")
    return known
