"""How a video becomes shots."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framegate.core.errors import InvalidRequest
from framegate.core.fitting import fit
from framegate.core.models import Defaults, FrameRule, ModelSpec
from framegate.core.planning import MAX_SHOTS, plan
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Shot, StoryboardShot, Task

quick = settings(max_examples=200, deadline=None)
PICTURE = MediaRef(MediaKind.IMAGE, "inputs/a.png", 640, 480)


def model(
    frames: FrameRule, tasks: frozenset[Task] = frozenset(Task), max_duration: float = 1000.0
) -> ModelSpec:
    return ModelSpec(
        id="wan",
        summary="",
        backend="",
        tasks=tasks,
        parameters=frozenset({"strength"}),
        frames=frames,
        max_duration=max_duration,
        defaults=Defaults(fps=10.0),
    )


def shots(
    spec: ModelSpec, task: Task = Task.TEXT_TO_VIDEO, *, seed: int = 7, **values: Any
) -> tuple[Shot, ...]:
    request = GenerationRequest(model="wan", task=task, prompt="a boat", **values)
    return plan(spec, fit(spec, request), seed)


@st.composite
def frame_rules(draw: st.DrawFn) -> FrameRule:
    step = draw(st.integers(1, 8))
    offset = draw(st.integers(1, step))
    low = offset + step * draw(st.integers(0, 5))
    return FrameRule(step, offset, low, low + step * draw(st.integers(0, 30)))


@quick
@given(frame_rules(), st.integers(1, 2000), st.integers(1, 70), st.sampled_from(Task))
def test_the_kept_frames_add_up_and_every_shot_can_be_made(
    rule: FrameRule, num_frames: int, pieces: int, task: Task
) -> None:
    assume(task.output == MediaKind.VIDEO)
    spec = model(rule)
    request = GenerationRequest(
        model="wan", task=task, prompt="a boat", num_frames=num_frames, num_fragments=pieces
    )
    fitted = fit(spec, request)
    try:
        made = plan(spec, fitted, seed=7)
    except InvalidRequest as error:
        # A model of one frame at a time can't go on from a frame that it has to make again.
        reasons = ("can be made in", f"more than {MAX_SHOTS} shots", "can't continue")
        if not any(reason in error.message for reason in reasons):
            raise
        return
    assert sum(shot.frames_kept for shot in made) == fitted.num_frames
    assert pieces <= len(made) <= MAX_SHOTS
    assert len(made) == pieces or fitted.num_frames > pieces * (rule.max - 1), "no more than it takes"
    for shot in made:
        assert rule.min <= shot.num_frames <= rule.max
        assert (shot.num_frames - rule.offset) % rule.step == 0
        assert shot.keep_frames is not None
        assert shot.drop_first + shot.keep_frames <= shot.num_frames
    first, *rest = made
    assert (first.task, first.continues, first.drop_first) == (task, False, 0)
    for shot in rest:
        assert (shot.task, shot.continues, shot.drop_first) == (Task.IMAGE_TO_VIDEO, True, 1)
    kept = [shot.frames_kept for shot in made]
    assert max(kept) - min(kept) <= 1, "pieces of one length"


def test_a_video_that_fits_is_one_shot() -> None:
    (shot,) = shots(model(FrameRule(4, 1, 5, 81)), num_frames=81)
    assert (shot.num_frames, shot.frames_kept, shot.seed) == (81, 81, 7)


def test_a_longer_video_goes_on_from_its_own_last_frame() -> None:
    made = shots(model(FrameRule(4, 1, 5, 81)), Task.IMAGE_TO_VIDEO, num_frames=200, image=PICTURE)
    assert [(shot.num_frames, shot.drop_first, shot.keep_frames) for shot in made] == [
        (69, 0, 67),
        (69, 1, 67),
        (69, 1, 66),
    ]
    assert [shot.seed for shot in made] == [7, 8, 9], "the same noise again would look like a loop"


def test_as_many_pieces_as_asked_for() -> None:
    made = shots(model(FrameRule(1, 0, 1, 7200)), num_frames=100, num_fragments=3)
    assert [shot.frames_kept for shot in made] == [34, 33, 33]
    assert [shot.num_frames for shot in made] == [34, 34, 34]


def test_what_was_asked_reaches_every_shot() -> None:
    values: dict[str, Any] = {
        "width": 640,
        "height": 352,
        "fps": 12.0,
        "num_inference_steps": 9,
        "guidance_scale": 3.5,
        "negative_prompt": "blurry",
        "style": "noir",
        "strength": 0.5,
    }
    for shot in shots(model(FrameRule(1, 0, 1, 20)), num_frames=50, **values):
        assert {name: getattr(shot, name) for name in values} == values
        assert shot.prompt == "a boat"


def test_pictures_are_made_in_one_shot() -> None:
    (shot,) = shots(model(FrameRule(4, 1, 5, 81)), Task.TEXT_TO_IMAGE, num_outputs=3)
    assert (shot.num_frames, shot.frames_kept, shot.fps, shot.continues) == (3, 3, 0.0, False)


@pytest.mark.parametrize(("pieces", "frames", "limit"), [(65, 100, 64), (10, 9, 9), (0, 100, 64), (-1, 9, 9)])
def test_a_number_of_pieces_out_of_reach(pieces: int, frames: int, limit: int) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"a video of {frames} frames can be made in 1 to {limit} fragments\."
    ) as caught:
        shots(model(FrameRule()), num_frames=frames, num_fragments=pieces)
    assert caught.value.param == "num_fragments"


@pytest.mark.parametrize(
    ("length", "param"), [({"num_frames": 2000}, "num_frames"), ({"duration": 200}, "duration")]
)
def test_a_video_of_too_many_shots(length: dict[str, Any], param: str) -> None:
    with pytest.raises(
        InvalidRequest, match=r"more than 64 shots of wan, which makes at most 21 frames"
    ) as caught:
        shots(model(FrameRule(4, 1, 5, 21)), **length)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("task", "tasks", "values", "param"),
    [
        (Task.VIDEO_TO_VIDEO, frozenset(Task), {"num_frames": 100}, "num_frames"),
        (Task.VIDEO_TO_VIDEO, frozenset(Task), {"duration": 10.0}, "duration"),
        (Task.VIDEO_TO_VIDEO, frozenset(Task), {"num_frames": 40, "num_fragments": 2}, "num_fragments"),
        (Task.TEXT_TO_VIDEO, frozenset({Task.TEXT_TO_VIDEO}), {"num_frames": 100}, "num_frames"),
    ],
)
def test_a_video_that_cant_be_continued(
    task: Task, tasks: frozenset[Task], values: dict[str, Any], param: str
) -> None:
    with pytest.raises(
        InvalidRequest, match="wan makes at most 81 frames at once and can't continue"
    ) as caught:
        shots(model(FrameRule(4, 1, 5, 81), tasks), task, **values)
    assert caught.value.param == param


def storyboard(*scenes: tuple[str, float]) -> tuple[StoryboardShot, ...]:
    return tuple(StoryboardShot(prompt, duration) for prompt, duration in scenes)


def test_a_storyboard_of_5_5_and_10_seconds() -> None:
    scenes = storyboard(("a calm sea", 5.0), ("wind rises", 5.0), ("a storm", 10.0))
    made = shots(model(FrameRule(1, 0, 1, 7200)), fps=30.0, storyboard=scenes)
    assert [(shot.prompt, shot.frames_kept) for shot in made] == [
        ("a calm sea", 150),
        ("wind rises", 150),
        ("a storm", 300),
    ]
    assert [(shot.num_frames, shot.drop_first, shot.continues) for shot in made] == [
        (150, 0, False),
        (151, 1, True),
        (301, 1, True),
    ]
    assert [shot.task for shot in made] == [Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.IMAGE_TO_VIDEO]


def test_a_storyboard_shot_longer_than_the_models_own() -> None:
    scenes = storyboard(("a calm sea", 5.0), ("a storm", 12.0))
    made = shots(
        model(FrameRule(4, 1, 5, 81)), Task.IMAGE_TO_VIDEO, fps=16.0, image=PICTURE, storyboard=scenes
    )
    assert [(shot.prompt, shot.frames_kept) for shot in made] == [
        ("a calm sea", 80),
        ("a storm", 64),
        ("a storm", 64),
        ("a storm", 64),
    ]
    assert [shot.seed for shot in made] == [7, 8, 9, 10]


@quick
@given(
    frame_rules(),
    st.lists(st.floats(0.05, 30.0), min_size=1, max_size=12),
    st.sampled_from([8.0, 16.0, 23.976, 24.0, 30.0]),
)
def test_a_storyboard_lasts_as_long_as_its_shots(rule: FrameRule, durations: list[float], fps: float) -> None:
    spec = model(rule)
    scenes = storyboard(*((str(number), duration) for number, duration in enumerate(durations)))
    try:
        made = shots(spec, fps=fps, storyboard=scenes)
    except InvalidRequest as error:
        reasons = (f"more than {MAX_SHOTS} shots", "shorter than a frame", "at least one frame")
        if error.param != "prompt" or not any(reason in error.message for reason in reasons):
            raise
        return
    assert abs(sum(shot.frames_kept for shot in made) - sum(durations) * fps) <= 0.5 + 1e-6
    for number, duration in enumerate(durations):
        kept = sum(shot.frames_kept for shot in made if shot.prompt == str(number))
        assert abs(kept - duration * fps) <= 1 + 1e-6
    assert [shot.prompt for shot in made] == sorted((shot.prompt for shot in made), key=int)
    assert [shot.continues for shot in made] == [False] + [True] * (len(made) - 1)
    for shot in made:
        assert rule.min <= shot.num_frames <= rule.max
        assert shot.drop_first + shot.frames_kept <= shot.num_frames


@pytest.mark.parametrize(
    "durations",
    [
        (0.0,),
        (-1.0, 5.0),
        (5.0, float("nan")),
        (float("inf"),),
        (float("-inf"), float("inf")),
        (1e308, 1e308),
        (600.0, 401.0),
        (1e-9, 1.0),
        (1.0, 0.04),
        (0.5,) * 65,
    ],
)
def test_storyboards_that_cant_be_made(durations: tuple[float, ...]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        shots(model(FrameRule()), storyboard=storyboard(*(("a boat", duration) for duration in durations)))
    assert caught.value.param == "prompt"


def test_a_storyboard_for_a_model_that_cant_continue() -> None:
    spec = model(FrameRule(), frozenset({Task.TEXT_TO_VIDEO}))
    assert len(shots(spec, storyboard=storyboard(("a boat", 3.0)))) == 1
    with pytest.raises(InvalidRequest, match="can't continue a video") as caught:
        shots(spec, storyboard=storyboard(("a boat", 3.0), ("a storm", 3.0)))
    assert caught.value.param == "prompt"


def test_the_sum_is_right_though_floats_are_not() -> None:
    spec = model(FrameRule(), max_duration=10.0)
    made = shots(spec, fps=30.0, storyboard=storyboard(*((str(n), 3.3) for n in range(2)), ("end", 3.4)))
    assert sum(shot.frames_kept for shot in made) == 300


def test_a_style_is_told_after_each_prompt() -> None:
    request = GenerationRequest(
        "wan", Task.TEXT_TO_VIDEO, "all", storyboard=storyboard(("sea", 1.0), ("sky", 1.0)), style="anime"
    )
    spec = model(FrameRule())
    made = plan(spec, fit(spec, request), 7, style_prompt="hand-drawn")
    assert [(shot.prompt, shot.own_words) for shot in made] == [
        ("sea\nhand-drawn", "sea"),
        ("sky\nhand-drawn", "sky"),
    ]


@pytest.mark.parametrize("style", ["", "hand-drawn"])
def test_the_texts_of_many_shots_are_in_memory_once(style: str) -> None:
    spec = model(FrameRule(1, 0, 1, 100))
    request = GenerationRequest[MediaRef](
        model="wan",
        task=Task.TEXT_TO_VIDEO,
        prompt="p" * 100_000,
        negative_prompt="n" * 100_000,
        num_frames=640,
        num_fragments=64,
    )
    made = plan(spec, fit(spec, request), 7, style_prompt=style)
    assert len(made) == 64
    assert made[0].own_words == request.prompt
    for shot in made:
        assert shot.prompt is made[0].prompt
        assert shot.caption is made[0].caption
        assert shot.negative_prompt is made[0].negative_prompt


def test_one_shot_may_have_the_longest_prompt() -> None:
    spec = model(FrameRule(1, 0, 1, 100))
    request = GenerationRequest[MediaRef](
        model="wan", task=Task.TEXT_TO_VIDEO, prompt="p" * 2_000_000, num_frames=10
    )
    (made,) = plan(spec, fit(spec, request), 7)
    assert made.prompt == request.prompt
