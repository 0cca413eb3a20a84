"""What a request becomes when it is fitted to a model."""

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framegate.core.errors import InvalidRequest, UnsupportedParameter
from framegate.core.fitting import fit
from framegate.core.models import Defaults, FrameRule, ModelSpec, Range, SizeRule
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, StoryboardShot, Task
from tests.support.model_specs import WAN, frame_rules, ranges, size_rules

quick = settings(max_examples=150, deadline=None)


def asking(task: Task = Task.TEXT_TO_VIDEO, **values: Any) -> GenerationRequest:
    return GenerationRequest(model="wan", task=task, prompt="a boat", **values)


def picture(width: int, height: int) -> MediaRef:
    return MediaRef(MediaKind.IMAGE, "inputs/a.png", width, height)


def picture_maker(sizes: SizeRule, **defaults: Any) -> ModelSpec:
    return ModelSpec(
        id="m", summary="", backend="", tasks=frozenset(Task), sizes=sizes, defaults=Defaults(**defaults)
    )


@st.composite
def specs(draw: st.DrawFn) -> ModelSpec:
    fps = draw(ranges())
    return ModelSpec(
        id="any",
        summary="",
        backend="",
        tasks=frozenset(Task),
        parameters=frozenset({"strength", "last_image"}),
        sizes=draw(size_rules()),
        frames=draw(frame_rules()),
        fps=Range(fps.min + 1, fps.max + 1),
        steps=draw(ranges()),
        guidance=draw(ranges()),
        max_duration=draw(st.floats(0.5, 300)),
        max_outputs=draw(st.integers(1, 8)),
        defaults=draw(
            st.builds(
                Defaults,
                width=st.none() | st.integers(1, 5000),
                height=st.none() | st.integers(1, 5000),
                num_frames=st.none() | st.integers(1, 500),
                duration=st.none() | st.floats(0, 60),
                num_inference_steps=st.none() | st.integers(0, 300),
                strength=st.none() | st.floats(-1, 2),
            )
        ),
    )


anything = st.builds(
    GenerationRequest,
    model=st.just("any"),
    task=st.sampled_from(Task),
    prompt=st.just("a boat"),
    width=st.none() | st.integers(-10, 10_000),
    height=st.none() | st.integers(-10, 10_000),
    num_frames=st.none() | st.integers(-5, 3000),
    duration=st.none() | st.floats(),
    fps=st.none() | st.floats(0, 200),
    num_inference_steps=st.none() | st.integers(-5, 1000),
    guidance_scale=st.none() | st.floats(),
    strength=st.none() | st.floats(-5, 5),
    num_outputs=st.integers(-1, 10),
    image=st.none() | st.builds(picture, st.integers(1, 9000), st.integers(1, 9000)),
)


@quick
@given(specs(), anything)
def test_whatever_is_asked_the_models_limits_hold(spec: ModelSpec, request: GenerationRequest) -> None:
    try:
        fitted = fit(spec, request)
    except InvalidRequest:
        return
    sizes, frames = spec.sizes, spec.frames
    for side in (fitted.width, fitted.height):
        assert side % sizes.multiple_of == 0
        assert sizes.min_side <= side <= sizes.max_side
    assert fitted.width * fitted.height <= sizes.max_pixels
    assert spec.steps.min <= fitted.num_inference_steps <= spec.steps.max
    assert spec.guidance.min <= fitted.guidance_scale <= spec.guidance.max
    assert fitted.request.strength is None or 0 <= fitted.request.strength <= 1
    if request.task.output == MediaKind.IMAGE:
        assert fitted.num_frames == request.num_outputs
        assert 1 <= fitted.num_frames <= spec.max_outputs
        return
    assert spec.fps.min <= fitted.fps <= spec.fps.max
    assert fitted.num_frames >= frames.min
    if fitted.num_frames <= frames.max:
        assert (fitted.num_frames - frames.offset) % frames.step == 0
    else:
        assert fitted.num_frames <= spec.max_duration * fitted.fps + 0.5


@quick
@given(specs(), anything)
def test_every_deviation_is_written_down_and_nothing_else(
    spec: ModelSpec, request: GenerationRequest
) -> None:
    try:
        fitted = fit(spec, request)
    except InvalidRequest:
        return
    used: dict[str, float | None] = {
        "width": fitted.width,
        "height": fitted.height,
        "num_inference_steps": fitted.num_inference_steps,
        "guidance_scale": fitted.guidance_scale,
        "strength": fitted.request.strength,
    }
    if request.task.output == MediaKind.VIDEO:
        used |= {"fps": fitted.fps, "num_frames": fitted.num_frames, "num_outputs": 1}
    expected = {
        name: (asked, value)
        for name, value in used.items()
        if (asked := getattr(request, name)) is not None and asked != value
    }
    recorded = {change.field: (change.requested, change.used) for change in fitted.changes}
    assert len(recorded) == len(fitted.changes)
    length = recorded.pop("duration", None)
    assert str(sorted(recorded.items())) == str(sorted(expected.items())), (
        "compared as text, for NaN is not equal to itself"
    )
    assert all(change.why for change in fitted.changes)
    if request.task.output == MediaKind.VIDEO and request.duration is not None and request.num_frames is None:
        # A length in seconds may fall between two frames; more than that is a change.
        assert (length is not None) == (abs(request.duration * fitted.fps - fitted.num_frames) > 0.5)
        assert length in (None, (request.duration, fitted.num_frames / fitted.fps))
    else:
        assert length is None


@quick
@given(st.integers(300, 9000), st.integers(300, 9000))
def test_a_pictures_ratio_is_kept(width: int, height: int) -> None:
    assume(1 / 4 < width / height < 4)
    fitted = fit(WAN, asking(Task.IMAGE_TO_VIDEO, image=picture(width, height)))
    assert abs(fitted.width - fitted.height * width / height) <= 16 * max(1, width / height) + 1e-3
    assert 399_360 * 0.85 < fitted.width * fitted.height <= 399_360, "at the area of the default size"
    assert not fitted.changes, "no size was requested"


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ((640, 480), (720, 544)),
        ((480, 832), (480, 832)),
        ((1920, 1080), (832, 464)),
        ((1000, 1000), (624, 624)),
    ],
)
def test_sizes_for_pictures(source: tuple[int, int], made: tuple[int, int]) -> None:
    fitted = fit(WAN, asking(Task.IMAGE_TO_VIDEO, image=picture(*source)))
    assert (fitted.width, fitted.height) == made


@pytest.mark.parametrize(
    ("multiple", "asked", "made"),
    [
        (32, (1280, 704), (1280, 704)),
        (32, (1280, 720), (1280, 704)),
        (16, (832, 480), (832, 480)),
        (16, (831, 495), (816, 480)),
        (16, (4096, 1024), (2048, 512)),  # a side too long
        (16, (4000, 4000), (2048, 2048)),
        (16, (1, 1), (32, 32)),
        (1, (333, 77), (333, 77)),
    ],
)
def test_sizes(multiple: int, asked: tuple[int, int], made: tuple[int, int]) -> None:
    fitted = fit(
        picture_maker(SizeRule(multiple)), asking(Task.TEXT_TO_IMAGE, width=asked[0], height=asked[1])
    )
    assert (fitted.width, fitted.height) == made
    assert [(change.field, change.requested, change.used) for change in fitted.changes] == [
        (name, *pair)
        for name, *pair in zip(("width", "height"), asked, made, strict=True)
        if pair[0] != pair[1]
    ]


def test_one_side_is_enough() -> None:
    spec = picture_maker(SizeRule(16), width=832, height=480)
    wide = fit(spec, asking(Task.TEXT_TO_IMAGE, width=416))
    assert (wide.width, wide.height) == (416, 240)
    tall = fit(spec, asking(Task.IMAGE_TO_IMAGE, height=640, image=picture(300, 600)))
    assert (tall.width, tall.height) == (320, 640)


def test_a_video_to_work_on_gives_the_ratio_too() -> None:
    film = MediaRef(MediaKind.VIDEO, "inputs/a", 500, 1000, num_frames=20, fps=10)
    spec = picture_maker(SizeRule(2), width=200, height=100)
    fitted = fit(spec, asking(Task.VIDEO_TO_VIDEO, video=film))
    assert (fitted.width, fitted.height) == (100, 200)


@pytest.mark.parametrize(
    ("rule", "asked", "made"),
    [
        (FrameRule(4, 1, 5, 81), 81, 81),
        (FrameRule(4, 1, 5, 81), 80, 81),
        (FrameRule(4, 1, 5, 81), 78, 77),
        (FrameRule(4, 1, 5, 81), 79, 81),  # halfway: the longer
        (FrameRule(4, 1, 5, 81), 1, 5),
        (FrameRule(4, 1, 5, 81), 200, 200),  # several shots
        (FrameRule(8, 1, 9, 257), 121, 121),
        (FrameRule(8, 1, 9, 257), 124, 121),
        (FrameRule(8, 1, 9, 257), 125, 129),
        (FrameRule(1, 0, 1, 7200), 73, 73),
    ],
)
def test_frame_counts(rule: FrameRule, asked: int, made: int) -> None:
    spec = ModelSpec(id="m", summary="", backend="", tasks=frozenset(Task), frames=rule)
    fitted = fit(spec, asking(num_frames=asked, fps=24.0))
    assert fitted.num_frames == made
    assert [(c.field, c.requested, c.used) for c in fitted.changes] == (
        [] if asked == made else [("num_frames", asked, made)]
    )


@pytest.mark.parametrize(
    ("duration", "fps", "made", "changed"),
    [(5.0, 16.0, 81, True), (5.0625, 16.0, 81, False), (5.08, 16.0, 81, False), (0.1, 16.0, 5, True)],
)
def test_durations(duration: float, fps: float, made: int, changed: bool) -> None:
    fitted = fit(WAN, asking(duration=duration, fps=fps))
    assert fitted.num_frames == made
    expected = [("duration", duration, made / fps)] if changed else []
    assert [(c.field, c.requested, c.used) for c in fitted.changes] == expected


def test_a_frame_count_wins_over_a_duration() -> None:
    fitted = fit(WAN, asking(num_frames=41, duration=5.0))
    assert fitted.num_frames == 41


@pytest.mark.parametrize(
    "length", [{"duration": 20.1}, {"duration": 0.0}, {"duration": math.nan}, {"num_frames": 0}]
)
def test_a_length_out_of_reach_is_refused(length: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match=r"wan makes at least one frame and at most 20 s\.") as caught:
        fit(WAN, asking(**length))
    assert caught.value.param == next(iter(length))


def test_a_name_s_length_is_no_limit_of_storyboards() -> None:
    name = WAN.narrow(None, None, Defaults(), 5.0)
    assert (name.max_duration, name.max_storyboard) == (5.0, 20.0)
    again = name.narrow(None, None, Defaults(), 3.0)
    assert (again.max_duration, again.max_storyboard) == (3.0, 20.0)
    storyboard = (StoryboardShot("a", 8.0), StoryboardShot("b", 12.0))
    assert fit(again, asking(storyboard=storyboard)).num_frames == 20 * 16
    with pytest.raises(InvalidRequest, match=r"A video of 21\.00 s was requested; .* at most 20 s\."):
        fit(again, asking(storyboard=(*storyboard, StoryboardShot("c", 1.0))))
    with pytest.raises(InvalidRequest, match=r"at most 3 s\."):
        fit(again, asking(duration=4.0))


def test_a_default_length_is_cut_to_what_the_frame_rate_allows() -> None:
    spec = ModelSpec(
        id="m",
        summary="",
        backend="",
        tasks=frozenset(Task),
        max_duration=10,
        defaults=Defaults(num_frames=121, fps=24.0),
    )
    assert fit(spec, asking()).num_frames == 121
    slow = fit(spec, asking(fps=2.0))
    assert (slow.num_frames, slow.changes) == (20, ())


def test_the_number_of_results() -> None:
    spec = picture_maker(SizeRule())
    assert fit(spec, asking(Task.TEXT_TO_IMAGE, num_outputs=4)).num_frames == 4
    for number in (0, 5):
        with pytest.raises(InvalidRequest, match=f"{number} images were requested; m makes 1 to 4") as caught:
            fit(spec, asking(Task.TEXT_TO_IMAGE, num_outputs=number))
        assert caught.value.param == "num_outputs"
    (change,) = fit(WAN, asking(num_outputs=3)).changes
    assert (change.field, change.requested, change.used) == ("num_outputs", 3, 1)


def test_the_reasons_say_what_would_be_right() -> None:
    fitted = fit(WAN, asking(width=500, num_frames=3, num_inference_steps=90, fps=60.0))
    assert {change.field: change.why for change in fitted.changes} == {
        "width": "the model takes multiples of 16 within its limits",
        "num_frames": "the model's frame counts are 4n+1, at least 5",
        "num_inference_steps": "the model takes 1 to 60",
        "fps": "the model takes 8 to 30",
    }


def test_a_task_that_the_model_cant_do() -> None:
    with pytest.raises(
        InvalidRequest, match="wan can't do text-to-image; it can do image-to-video, text-to-video"
    ) as caught:
        fit(WAN, asking(Task.TEXT_TO_IMAGE))
    assert caught.value.param == "model"


def test_a_parameter_that_the_model_does_not_have() -> None:
    with pytest.raises(UnsupportedParameter, match="wan has no parameter last_image; leave it out") as caught:
        fit(WAN, asking(last_image=picture(64, 64)))
    assert caught.value.param == "last_image"
    assert fit(WAN, asking(strength=0.5)).request.strength == 0.5


def test_defaults_fill_what_was_left_out() -> None:
    spec = ModelSpec(
        id="m",
        summary="",
        backend="",
        tasks=frozenset(Task),
        defaults=Defaults(
            width=640, height=360, fps=12.0, duration=2.0, negative_prompt="blurry", style="noir",
            num_inference_steps=7, guidance_scale=3.5,
        ),
    )  # fmt: skip
    plain = fit(spec, asking())
    assert (plain.width, plain.height, plain.fps, plain.num_frames) == (640, 360, 12.0, 24)
    assert (plain.num_inference_steps, plain.guidance_scale) == (7, 3.5)
    assert (plain.request.negative_prompt, plain.request.style) == ("blurry", "noir")
    own = fit(spec, asking(negative_prompt="text", style="news", num_inference_steps=9))
    assert (own.request.negative_prompt, own.request.style, own.num_inference_steps) == ("text", "news", 9)
    assert fit(spec, asking(negative_prompt="")).request.negative_prompt == "", "an empty one is a choice"
