# pyright: reportUnknownMemberType=false
# PyAV's type stubs leave packets and keyword arguments without types.

import math
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

from framegate.core.errors import InvalidMedia
from framegate.media.video.frames import frame_at, read_frames

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def write(
    path: Path, frames: Frames, codec: str, pix_fmt: str, *, matrix: int | None = None, turn: int = 0
) -> Path:
    """Encode without our own encoder. ``matrix`` tags the file and picks the conversion to YUV."""
    height, width, _ = frames[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if codec == "libx264":
            stream.options = {"crf": "10"}
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if turn:
            stream.set_display_rotation(turn)
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if pix_fmt.startswith("yuv"):
                picture = picture.reformat(
                    format=pix_fmt, dst_colorspace=matrix or 5, dst_color_range=ColorRange.MPEG
                )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def close(one: NDArray[np.uint8], other: NDArray[np.uint8], limit: float = 3) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < limit


def test_frames_by_time(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", moving_frames(60))
    frames = list(read_frames(path))
    assert len(frames) == 60
    assert np.array_equal(frame_at(path, 0.0), frames[0])
    assert np.array_equal(frame_at(path, math.inf), frames[-1])
    for seconds, number in [
        (0, 0),
        (0.04, 0),
        (1 / 24, 1),
        (0.5, 12),
        (1.99, 47),
        (2.0, 48),
        (2.49, 59),
        (99, 59),
    ]:
        assert np.array_equal(frame_at(path, seconds), frames[number])


def test_frames_behind_a_second_key_frame(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    frames = moving_frames(260) + moving_frames(20)[::-1]
    path = make_clip("clip.mp4", frames)
    assert close(frame_at(path, 255 / 24), frames[255])
    assert close(frame_at(path, 265 / 24), frames[265])
    assert close(frame_at(path, math.inf), frames[-1])


def test_a_single_frame(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", moving_frames(1))
    assert np.array_equal(frame_at(path, 0.0), frame_at(path, math.inf))


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_impossible_times(seconds: float, moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    with pytest.raises(ValueError, match="can't be"):
        frame_at(make_clip("clip.mp4", moving_frames(1)), seconds)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mkv", "libx264", "yuv444p"),
        ("a.mov", "libx264", "yuv420p"),
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.gif", "gif", "rgb8"),
    ],
)
def test_other_containers(
    name: str, codec: str, pix_fmt: str, moving_frames: MakeFrames, tmp_path: Path
) -> None:
    frames = moving_frames(30)
    path = write(tmp_path / name, frames, codec, pix_fmt)
    limit = 20 if codec == "gif" else 8
    read = list(read_frames(path))
    assert len(read) == 30
    assert close(read[0], frames[0], limit)
    assert np.array_equal(frame_at(path, 0.0), read[0])
    assert np.array_equal(frame_at(path, math.inf), read[-1])
    assert np.array_equal(frame_at(path, 0.5), read[12])


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
def test_the_tagged_matrix_is_used(matrix: int, tmp_path: Path) -> None:
    card = np.concatenate([np.full((64, 32, 3), c, np.uint8) for c in ((200, 30, 40), (40, 180, 60))], axis=1)
    path = write(tmp_path / "a.mp4", [card] * 3, "libx264", "yuv420p", matrix=matrix)
    assert close(frame_at(path, 0.0), card, 3)


def test_untagged_files_go_by_their_size(tmp_path: Path) -> None:
    small = np.full((64, 64, 3), (200, 30, 40), np.uint8)
    assert close(frame_at(write(tmp_path / "a.mp4", [small], "libx264", "yuv420p"), 0.0), small, 3)
    large = np.full((720, 1280, 3), (200, 30, 40), np.uint8)
    assert not close(frame_at(write(tmp_path / "b.mp4", [large], "libx264", "yuv420p"), 0.0), large, 3)


@pytest.mark.parametrize(("turn", "quarters"), [(90, 1), (-90, -1), (180, 2)])
def test_turned_videos_stand_upright(
    turn: int, quarters: int, moving_frames: MakeFrames, tmp_path: Path
) -> None:
    frames = moving_frames(3)
    path = write(tmp_path / "a.mp4", frames, "libx264", "yuv420p", turn=turn)
    assert close(frame_at(path, 0.0), np.rot90(frames[0], quarters), 8)


def test_truncated_videos_are_refused(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    content = make_clip("clip.mp4", moving_frames(30)).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: len(content) // 3])
    with pytest.raises(InvalidMedia):
        frame_at(path, math.inf)
