"""Checks of the default values in a config: a request that asks for nothing gets what they say."""

from collections.abc import Mapping

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigKey
from framegate.core.fitting import STRENGTH, defaults_of
from framegate.core.models import Defaults, ModelSpec, Range, SizeRule
from framegate.core.registry import AliasConfig, ModelConfig, Registry


def check_defaults(
    registry: Registry,
    models: Mapping[str, ModelConfig],
    aliases: Mapping[str, AliasConfig],
    found: ErrorCollector,
) -> None:
    """Find the default values that the model behind a name would not take as they are.

    Those out of its range are errors. Those that it rounds, as it does with what clients ask for, are
    warnings.
    """
    for name, model in models.items():
        if spec := registry.specs.get(name):
            _check(spec, model.defaults, ("models", name, "defaults"), found)
    for name, alias in aliases.items():
        if served := registry.names.get(name):
            _check(served.spec, alias.defaults, ("aliases", name, "defaults"), found)


def _check(spec: ModelSpec, given: Defaults, key: ConfigKey, found: ErrorCollector) -> None:
    ranges = {
        "fps": spec.fps,
        "num_inference_steps": spec.steps,
        "guidance_scale": spec.guidance,
        "strength": STRENGTH,
    }
    for name, limits in ranges.items():
        value: float | None = getattr(given, name)
        if value is not None and not limits.min <= value <= limits.max:
            found.add(f"{value:g} is out of range: {_takes(spec, limits)}.", *key, name)
    _check_size(spec, given, key, found)
    _check_length(spec, given, key, found)


def _takes(spec: ModelSpec, limits: Range) -> str:
    if limits.min == limits.max:
        return f"{spec.id} takes {limits.min:g} alone"
    return f"{spec.id} takes {limits.min:g} to {limits.max:g}"


def _check_size(spec: ModelSpec, given: Defaults, key: ConfigKey, found: ErrorCollector) -> None:
    if given.width is None and given.height is None:
        return
    defaults = given.over(defaults_of(spec))
    assert defaults.width is not None
    assert defaults.height is not None
    fitted = spec.sizes.fit(defaults.width, defaults.height)
    if fitted == (defaults.width, defaults.height):
        return
    wrong = [
        name
        for name, used in zip(("width", "height"), fitted, strict=True)
        if getattr(given, name) is not None and getattr(given, name) != used
    ]
    name = wrong[0] if wrong else "width" if given.width is not None else "height"
    report = found.warn if _is_within(spec.sizes, defaults.width, defaults.height) else found.add
    report(
        f"{spec.id} makes no {defaults.width}×{defaults.height}, but {fitted[0]}×{fitted[1]} instead: it "
        f"{_sizes(spec.sizes)}.",
        *(*key, name),
    )


def _is_within(rule: SizeRule, width: int, height: int) -> bool:
    """Return whether a size is one of the model's but for the grid."""
    sides = all(rule.min_side <= side <= rule.max_side for side in (width, height))
    return not rule.only and sides and width * height <= rule.max_pixels


def _sizes(rule: SizeRule) -> str:
    if rule.only:
        return str(rule)
    return (
        f"takes multiples of {rule.multiple_of} from {rule.min_side} to {rule.max_side}, with at most "
        f"{rule.max_pixels:,} pixels"
    )


def _check_length(spec: ModelSpec, given: Defaults, key: ConfigKey, found: ErrorCollector) -> None:
    defaults = given.over(defaults_of(spec))
    assert defaults.fps is not None
    rule, fps = spec.frames, spec.fps.clamp(defaults.fps)
    if given.duration is not None and not 0 < given.duration <= spec.max_duration:
        found.add(
            f"{given.duration:g} is out of range: {spec.id} makes videos of up to {spec.max_duration:g} s.",
            *(*key, "duration"),
        )
    if (count := given.num_frames) is None:
        return
    if not 0 < count <= max(rule.max, spec.max_duration * fps + 0.5):
        found.add(
            f"{count} is out of range: {spec.id} makes videos of up to {spec.max_duration:g} s, "
            f"{int(spec.max_duration * fps)} frames at {fps:g} fps.",
            *(*key, "num_frames"),
        )
    elif count <= rule.max and rule.nearest(count) != count:
        report = found.warn if count > rule.min else found.add
        report(
            f"{spec.id} makes no video of {count} frames, but of {rule.nearest(count)} instead: its counts "
            f"are {rule}, at least {rule.min}.",
            *(*key, "num_frames"),
        )
