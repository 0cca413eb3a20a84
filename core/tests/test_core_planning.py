"""How a video becomes shots."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from framegate.core.errors import InvalidRequest
from framegate.core.models import Defaults, FrameRule, ModelSpec, fit
from framegate.core.planning import MAX_SHOTS, plan
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Shot, Task

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
        parameters=frozenset({"style", "strength"}),
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


@pytest.mark.parametrize(("pieces", "frames", "most"), [(65, 100, 64), (10, 9, 9), (0, 100, 64), (-1, 9, 9)])
def test_a_number_of_pieces_out_of_reach(pieces: int, frames: int, most: int) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"a video of {frames} frames can be made in 1 to {most}\."
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
