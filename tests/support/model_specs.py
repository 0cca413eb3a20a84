"""A model with every rule, and rules drawn at random."""

import math

from hypothesis import strategies as st

from framegate.core.models import FrameRule, ModelSpec, Range, SizeRule
from framegate.core.types import Task

WAN = ModelSpec(
    id="wan",
    summary="",
    backend="nowhere:Nothing",
    tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}),
    parameters=frozenset({"strength"}),
    sizes=SizeRule(multiple_of=16, min_side=256, max_side=1664, max_pixels=399_360),
    frames=FrameRule(step=4, offset=1, min=5, max=81),
    steps=Range(1, 60),
    guidance=Range(1, 12),
    fps=Range(8, 30),
    max_duration=20,
)


@st.composite
def size_rules(draw: st.DrawFn) -> SizeRule:
    step = draw(st.sampled_from([1, 2, 8, 16, 30, 32, 64]))
    low = draw(st.integers(1, 600))
    smallest = math.ceil(low / step) * step
    high = draw(st.integers(smallest, smallest + 3000))
    pixels = draw(st.integers(smallest * smallest, 4 * high * high))
    return SizeRule(step, low, high, pixels)


@st.composite
def frame_rules(draw: st.DrawFn) -> FrameRule:
    step, offset = draw(st.integers(1, 12)), draw(st.integers(0, 12))
    low = max(1, step * draw(st.integers(0, 10)) + offset)
    low += (offset - low) % step
    return FrameRule(step, offset, low, low + step * draw(st.integers(0, 40)))


@st.composite
def ranges(draw: st.DrawFn) -> Range:
    low = draw(st.integers(0, 60))
    return Range(low, low + draw(st.integers(0, 100)))
