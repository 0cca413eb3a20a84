"""Videos brought to another size and rate."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framegate.core.errors import InvalidMedia
from framegate.media.video.conform import ConformedVideo
from framegate.media.video.frames import read_frames

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def test_what_fits_stays_as_it_is(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    for fps in (24.0, 24000 / 1001, 29.97, 16.0):
        path = make_clip(f"{fps}.mp4", moving_frames(20), fps=fps)
        video = ConformedVideo(path, width=64, height=48, fps=fps)
        assert np.array_equal(list(video.frames()), list(read_frames(path)))
        assert np.array_equal(video.last_frame(), list(read_frames(path))[-1])


@pytest.mark.parametrize("fps", [12.0, 24.0, 30.0, 48.0, 7.0])
def test_another_rate_shows_the_same_at_the_same_time(
    moving_frames: MakeFrames, make_clip: MakeClip, fps: float
) -> None:
    path = make_clip("clip.mp4", moving_frames(48))
    source = list(read_frames(path))
    video = ConformedVideo(path, width=64, height=48, fps=fps)
    frames = list(video.frames())
    assert len(frames) == video.num_frames == round(2 * fps)
    for number, frame in enumerate(frames):
        shown = min(range(48), key=lambda index: apart(source[index], frame))
        assert abs(shown / 24 - number / fps) <= 1 / 24
    assert np.array_equal(video.last_frame(), frames[-1])


def test_another_size_is_cropped_and_not_stretched(make_clip: MakeClip) -> None:
    """A square in the middle of a wide picture is one in a high picture."""
    frame = np.zeros((96, 192, 3), np.uint8)
    frame[32:64, 80:112] = 255
    video = ConformedVideo(make_clip("wide.mp4", [frame] * 3), width=96, height=192, fps=24.0)
    for shown in (*video.frames(), video.last_frame()):
        assert shown.shape == (192, 96, 3)
        rows, columns = np.nonzero(shown[:, :, 0] > 128)
        assert abs(np.ptp(rows) - 63) <= 2
        assert abs(np.ptp(columns) - 63) <= 2


def test_no_video(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(InvalidMedia):
        ConformedVideo(path, width=64, height=48, fps=24.0)
