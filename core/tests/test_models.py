"""Rules of sizes, frame counts and ranges, and models with narrower ones."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.types import ShotSize, Task
from tests.support.model_specs import WAN, frame_rules, ranges, size_rules

quick = settings(max_examples=150, deadline=None)


ONLY = SizeRule(only=((1280, 704), (704, 1280), (704, 704)))


@quick
@given(size_rules(), st.integers(1, 9000), st.integers(1, 9000))
def test_a_size_that_can_be_made_is_left_alone(rule: SizeRule, width: int, height: int) -> None:
    made = rule.fit(width, height)
    assert rule.fit(*made) == made
    smallest = math.ceil(rule.min_side / rule.multiple_of) * rule.multiple_of
    for got, asked in zip(made, (width, height), strict=True):
        assert got <= max(asked, smallest), "never larger, but where a minimum demands it"
    if width <= rule.max_side and height <= rule.max_side and width * height <= rule.max_pixels:
        for got, asked in zip(made, (width, height), strict=True):
            # A side that has to grow to its minimum may cost the other one some pixels.
            assert got > asked - rule.multiple_of or smallest in made


@quick
@given(size_rules(), st.floats(1, 50), st.floats(0.1, 10))
def test_scaling_down_keeps_the_ratio(rule: SizeRule, scale: float, ratio: float) -> None:
    width, height = rule.max_side * scale * max(1, ratio), rule.max_side * scale / min(1, ratio)
    made = rule.fit(width, height)
    smallest = math.ceil(rule.min_side / rule.multiple_of) * rule.multiple_of
    if smallest not in made:
        assert abs(made[0] - made[1] * width / height) <= rule.multiple_of * max(1, width / height) + 1e-3


@pytest.mark.parametrize(
    ("asked", "made"),
    [((1920, 1080), (1280, 704)), ((90, 160), (704, 1280)), ((500, 500), (704, 704)), ((0, 0), (704, 704))],
)
def test_a_model_of_a_few_sizes_takes_the_nearest(asked: tuple[int, int], made: tuple[int, int]) -> None:
    assert ONLY.fit(*asked) == made
    assert str(ONLY) == "makes 1280×704 or 704×1280 or 704×704"


def test_what_names_promise_is_narrowed_to_the_few_sizes() -> None:
    multiples = SizeRule(multiple_of=128)
    assert ONLY.intersect(multiples) == ONLY
    assert SizeRule(multiple_of=64).intersect(ONLY).only == ONLY.only
    assert SizeRule(multiple_of=64, max_side=1000).intersect(ONLY).only == ((704, 704),)
    assert multiples.intersect(ONLY) == multiples, "none of them can be made"


@quick
@given(frame_rules(), st.floats(-100, 2000))
def test_the_nearest_frame_count(rule: FrameRule, wanted: float) -> None:
    allowed = range(rule.min, rule.max + 1, rule.step)
    got = rule.nearest(wanted)
    assert got in allowed
    assert abs(got - wanted) == min(abs(count - wanted) for count in allowed)


@quick
@given(frame_rules(), st.integers(-100, 2000))
def test_the_next_frame_count(rule: FrameRule, wanted: int) -> None:
    allowed = range(rule.min, rule.max + 1, rule.step)
    assert rule.at_least(wanted) == next((count for count in allowed if count >= wanted), rule.max)


@quick
@given(frame_rules(), frame_rules())
def test_narrowed_frame_counts_are_those_that_both_allow(one: FrameRule, other: FrameRule) -> None:
    counts = [set(range(rule.min, rule.max + 1, rule.step)) for rule in (one, other, one.intersect(other))]
    endless = other.step % one.step == 0 and (other.offset - one.offset) % one.step == 0
    assert counts[2] == ((counts[0] & counts[1] if endless else set()) or counts[0])


def test_a_promise_below_the_models_shortest_length_changes_nothing() -> None:
    model = FrameRule(4, 1, 25, 121)
    assert model.intersect(FrameRule(4, 1, 5, 21)) == model


@quick
@given(size_rules(), size_rules(), st.integers(1, 4000), st.integers(1, 4000))
def test_narrowed_sizes_are_those_that_both_allow(
    one: SizeRule, other: SizeRule, width: int, height: int
) -> None:
    both = one.intersect(other)
    assert one.intersect(None) == one
    size = both.fit(width, height)
    assert one.fit(*size) == size
    if both != one:
        assert other.fit(*size) == size


@quick
@given(ranges(), ranges(), st.floats(-10, 200))
def test_narrowed_ranges_are_what_both_allow(one: Range, other: Range, value: float) -> None:
    both = one.intersect(other)
    inside = both.clamp(value)
    assert one.clamp(inside) == inside
    assert both == one or other.clamp(inside) == inside
    assert one.intersect(None) == one


def test_a_narrowed_model_keeps_its_own_defaults_where_none_are_given() -> None:
    narrow = WAN.narrow(SizeRule(32), FrameRule(8, 1, 9, 257), Defaults(duration=2.0)).narrow(
        None, None, Defaults(width=640)
    )
    assert narrow.sizes == SizeRule(32, 256, 1664, 399_360)
    assert narrow.frames == FrameRule(8, 1, 9, 81)
    assert narrow.defaults == Defaults(width=640, duration=2.0)


def test_a_length_given_nearer_replaces_the_wider_one() -> None:
    assert Defaults(duration=4.0).over(Defaults(num_frames=81, fps=16.0)) == Defaults(duration=4.0, fps=16.0)
    assert Defaults(num_frames=9).over(Defaults(duration=4.0)) == Defaults(num_frames=9)
    assert Defaults(width=9).over(Defaults(duration=4.0)) == Defaults(width=9, duration=4.0)


@pytest.mark.parametrize(
    "values", [{"multiple_of": 0}, {"min_side": 65, "max_side": 64}, {"min_side": 64, "max_pixels": 4095}]
)
def test_size_rules_that_nothing_fits_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="SizeRule"):
        SizeRule(**values)


@pytest.mark.parametrize(
    "values", [{"step": 0}, {"min": 0}, {"min": 9, "max": 5}, {"step": 4, "offset": 1, "min": 4, "max": 81}]
)
def test_frame_rules_that_nothing_fits_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="FrameRule"):
        FrameRule(**values)


def test_queue_names_are_what_dramatiq_allows() -> None:
    def queue(model: str, group: str = "") -> str:
        return ModelSpec(id=model, summary="", backend="", tasks=frozenset(), queue_group=group).queue

    assert queue("wan2.2-TI2V_5B") == "q-wan2.2-TI2V_5B"
    assert queue("große Sache/1") == "q-gro_dfe_20Sache_2f1"
    assert queue("a", group="gpu") == queue("b", group="gpu") == "q-gpu"


@pytest.mark.parametrize(
    ("sizes", "defaults", "planned", "largest"),
    [
        (
            SizeRule(multiple_of=16, max_pixels=1280 * 720),
            Defaults(width=832, height=480, num_frames=81),
            (832, 480, 81),
            (1280, 720, 121),
        ),
        (
            SizeRule(multiple_of=32, max_side=1920, max_pixels=1920 * 1088),
            Defaults(width=1024, height=576, duration=2.0, fps=16.0),
            (1024, 576, 33),
            (1920, 1088, 121),
        ),
        (
            SizeRule(only=((480, 832), (1280, 720))),
            Defaults(width=480, height=832),
            (480, 832, 121),
            (1280, 720, 121),
        ),
    ],
)
def test_memory_is_planned_for_what_is_asked_for_by_default(
    sizes: SizeRule,
    defaults: Defaults,
    planned: tuple[int, int, int],
    largest: tuple[int, int, int],
) -> None:
    spec = ModelSpec(
        id="film",
        summary="",
        backend="",
        tasks=frozenset({Task.TEXT_TO_VIDEO}),
        sizes=sizes,
        frames=FrameRule(step=4, offset=1, min=5, max=121),
        defaults=defaults,
    )
    assert spec.planned_size == ShotSize(*planned)
    assert spec.largest_size == ShotSize(*largest)
