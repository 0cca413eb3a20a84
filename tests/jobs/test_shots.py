"""Videos of several shots: what the preview backend draws, one file in the end."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import pytest

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.types import (
    MediaKind,
    MediaRef,
    Shot,
    StoryboardShot,
)
from framegate.plugins.preview.backend import PreviewBackend
from tests.support.shots_stand import SHORT, Frame, Stand, difference


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path, PreviewBackend())


def assert_seamless(frames: Sequence[Frame], shots: Sequence[Shot]) -> None:
    steps = [difference(one, other) for one, other in pairwise(frames)]
    seams = list(accumulate(shot.frames_kept for shot in shots))[:-1]
    assert seams
    for seam in seams:
        around = steps[seam - 4 : seam - 1] + steps[seam : seam + 3]
        assert steps[seam - 1] > 0.01, "the first frame of a shot is not the last of the one before once more"
        assert steps[seam - 1] < 3 * max(around), "and it goes on from there, without a jump"
    assert min(frame.mean() for frame in frames) > 20, "no frame is black"


def scenes(*shots: tuple[str, float]) -> tuple[StoryboardShot, ...]:
    return tuple(StoryboardShot(prompt, duration) for prompt, duration in shots)


def test_a_storyboard_of_5_5_and_10_seconds_is_20_seconds(stand: Stand) -> None:
    board = scenes(("a boat on a calm sea", 5.0), ("the wind rises", 5.0), ("a storm in the forest", 10.0))
    job, artifact, frames = stand.make(fps=30.0, storyboard=board)
    assert (artifact.num_frames, artifact.fps, artifact.duration) == (600, 30.0, 20.0)
    assert len(frames) == 600
    assert_seamless(frames, job.shots)


@pytest.mark.parametrize("style", [None, "handheld", "retro", "news"])
def test_a_storyboard_on_a_model_of_few_frames(stand: Stand, style: str | None) -> None:
    board = scenes(("a boat on a calm sea", 2.0), ("a storm in the forest", 6.0))
    job, artifact, frames = stand.make(SHORT, fps=24.0, storyboard=board, style=style)
    assert len(job.shots) == 3
    assert artifact.duration == 8.0
    assert_seamless(frames, job.shots)


def test_fragments_have_no_seams_either(stand: Stand) -> None:
    job, artifact, frames = stand.make(fps=24.0, duration=3.0, num_fragments=3)
    assert (len(job.shots), artifact.num_frames) == (3, 72)
    assert_seamless(frames, job.shots)


def test_a_long_video_goes_on_past_what_the_model_makes_at_once(stand: Stand) -> None:
    job, artifact, frames = stand.make(SHORT, fps=30.0, duration=25.0)
    assert (len(job.shots), artifact.num_frames, artifact.duration) == (10, 750, 25.0)
    assert_seamless(frames, job.shots)


def test_progress_is_over_the_whole_by_length(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framegate.worker.running.context.REPORT_SECONDS", 0.0)
    stand.make(fps=10.0, storyboard=scenes(("one", 1.0), ("two", 3.0)))
    told = stand.told
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    first = [fraction for fraction, message in told if message.startswith("shot 1 of 2: ")]
    assert max(first) == pytest.approx(10 / 41)
    assert fractions[-1] == 0.99


class RecordingBackend(Backend):
    """Notes what each shot is conditioned on."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[str, bool, bool]] = []

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        self.given.append((shot.prompt, context.image is not None, context.last_image is not None))
        frame = np.zeros((shot.height, shot.width, 3), np.uint8)
        return FrameStream(frame for _ in range(shot.num_frames))


def test_only_the_last_shot_ends_with_the_last_picture(tmp_path: Path) -> None:
    backend = RecordingBackend()
    stand = Stand(tmp_path, backend)
    source = stand.store.workdir("x") / "end.png"
    source.touch()
    stand.store.put(source, "inputs/end.png")
    end = MediaRef(MediaKind.IMAGE, "inputs/end.png", 160, 96)
    stand.make(last_image=end, storyboard=scenes(("one", 1.0), ("two", 1.0), ("three", 1.0)))
    assert backend.given == [("one", False, False), ("two", True, False), ("three", True, True)]
