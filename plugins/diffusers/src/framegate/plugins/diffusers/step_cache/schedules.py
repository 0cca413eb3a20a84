"""Which steps a step cache computes, and when it may skip the others. Imports nothing heavy."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.options import Options

UNCACHED_STEPS = 3
"""Steps of a transformer before it may skip one; they lay out the image."""
FEW_STEPS = 8
"""A job of no more steps has none to spare: distilled weights were trained to use each."""
_MAX_SKIPS = 3
"""The most steps in a row that "magcache" skips, as in diffusers' `MagCacheConfig`."""
_RETENTION = 0.2
"""The share of the steps at the start that "magcache" computes, likewise."""


class Schedule(Struct, frozen=True):
    """What a cache does in the steps of one transformer.

    ``computed`` holds an entry for each step. The others are skipped; with a ``threshold`` only where the
    first block's residual has changed by less than this share since the last computed step. A skipped step
    computes the first block and adds the residual of the rest as it was in the last computed step, or with
    ``forecast`` as a Taylor series over the computed steps predicts it.
    """

    computed: tuple[bool, ...]
    threshold: float | None = None
    forecast: bool = False


class Masked(Struct, frozen=True):
    """A level by one of cache-dit's masks (``policy``), which skip more towards the end, and a threshold."""

    policy: Literal["slow", "medium", "fast", "ultra"]
    threshold: float


class Skips(Struct, frozen=True):
    """A level by MagCache: skip while the magnitudes' accumulated error stays below ``threshold``.

    At most ``max_skips`` steps are skipped in a row, and none in the first ``retention`` of them.
    """

    threshold: float
    max_skips: int
    retention: float


class Levels(Struct, frozen=True):
    """How "light" and "strong" work for some weights.

    ``mag_ratios``: the weights' magnitude ratios from step to step as MagCache's authors measured them, for
    any number of steps; empty where none are published. ``first_expert``: whether the first of two
    transformers, which lays out the video, skips steps at all.
    """

    light: Masked | Skips
    strong: Masked | Skips
    mag_ratios: tuple[float, ...] = ()
    first_expert: bool = True


DEFAULT_LEVELS = Levels(light=Masked("slow", 0.15), strong=Masked("fast", 0.2))
"""cache-dit's settings for FLUX.1-dev ("SCM S D" and "SCM F D" in docs/user_guide/CACHE_API.md of its
repository): 1.45 and 2.2 times the speed over 28 steps, with the dynamic cache that it recommends."""


def is_on(options: Options) -> bool:
    """Return whether ``options`` ask for a cache."""
    return options.cache not in ("off", "none")


def check_cache(options: Options, *, has_ratios: bool) -> None:
    """Check that the weights have what ``options.cache`` needs.

    Raises:
        GenerationFailed: No magnitude ratios are published for them.
    """
    if options.cache == "magcache" and not has_ratios:
        raise GenerationFailed(
            "options.cache: no MagCache ratios are published for these weights, so they can't use "
            "'magcache'; use 'light' or 'strong'."
        )


def create_schedule(options: Options, levels: Levels, *, run: range, steps: int) -> Schedule:
    """Return the schedule of a transformer for the steps that it will ``run``, of the job's ``steps``.

    The first entry is for the first of these. `UNCACHED_STEPS` and the job's last step are always computed.
    """
    own = slice(run.start, run.stop)
    guard = partial(_guard, ends=run.stop == steps)
    level: Masked | Skips
    match options.cache:
        case "first-block":
            computed = [False] * steps
            return Schedule(guard(computed[own]), threshold=options.cache_threshold)
        case "taylorseer":
            computed = [(step - UNCACHED_STEPS + 1) % options.cache_interval == 0 for step in range(steps)]
            return Schedule(guard(computed[own]), forecast=True)
        case "magcache":
            level = Skips(options.cache_threshold, _MAX_SKIPS, _RETENTION)
        case "strong":
            level = levels.strong
        case _:
            level = levels.light
    if isinstance(level, Masked):
        return Schedule(guard(_masked(level, steps)[own]), threshold=level.threshold)
    if run.stop < steps and not levels.first_expert:
        return Schedule((True,) * len(run))
    return Schedule(guard(_unskipped(level, interpolate(levels.mag_ratios, steps)[own])))


def interpolate(ratios: Sequence[float], steps: int) -> list[float]:
    """Return ``steps`` of ``ratios``, the nearest of each, as MagCache's authors do."""
    scale = (len(ratios) - 1) / max(1, steps - 1)
    return [ratios[round(step * scale)] for step in range(steps)]


def _unskipped(level: Skips, ratios: Sequence[float]) -> list[bool]:
    """Return which steps MagCache computes (arXiv 2506.09045, algorithm 1)."""
    retained = int(level.retention * len(ratios) + 0.5)
    computed = [True] * len(ratios)
    magnitude, error, skipped = 1.0, 0.0, 0
    for step in range(retained, len(ratios)):
        magnitude *= ratios[step]
        error += abs(1.0 - magnitude)
        skipped += 1
        if error <= level.threshold and skipped <= level.max_skips:
            computed[step] = False
        else:
            magnitude, error, skipped = 1.0, 0.0, 0
    return computed


def _masked(level: Masked, steps: int) -> list[bool]:
    import cache_dit  # pyright: ignore[reportMissingTypeStubs] # ships no types

    return [bool(step) for step in cache_dit.steps_mask(total_steps=steps, mask_policy=level.policy)]


def _guard(computed: list[bool], *, ends: bool) -> tuple[bool, ...]:
    last = len(computed) - 1 if ends else None
    return tuple(step < UNCACHED_STEPS or step == last or value for step, value in enumerate(computed))
