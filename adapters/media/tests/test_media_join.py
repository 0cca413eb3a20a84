from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from framegate.core.backend import Audio
from framegate.core.errors import InvalidMedia
from framegate.media.video.audio import read_sound
from framegate.media.video.frames import read_frames
from framegate.media.video.join import Part, join_videos
from framegate.media.video.probe import describe_video

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def beep(seconds: float, start: float, rate: int = 48_000) -> Audio:
    """Silence, and from ``start`` on a tone."""
    times = np.arange(round(seconds * rate)) / rate
    wave = np.where(times >= start, 0.5 * np.sin(2 * np.pi * 500 * times), 0.0)
    return Audio(wave[None].astype(np.float32), rate)


def loudness(path: Path, start: float, end: float) -> float:
    sound = read_sound(path)
    assert sound is not None
    return float(np.abs(sound.samples[:, round(start * 48_000) : round(end * 48_000)]).mean())


def test_parts_follow_one_another(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    first = make_clip("first.mp4", moving_frames(24))
    second = make_clip("second.mp4", moving_frames(48)[24:])
    path = tmp_path / "joined.mp4"
    join_videos(
        [Part(first), Part(second, drop_first=4), Part(first, drop_first=2, keep_frames=5)], path, fps=24
    )
    kept = [*read_frames(first), *list(read_frames(second))[4:], *list(read_frames(first))[2:7]]
    joined = list(read_frames(path))
    assert describe_video(path).num_frames == len(kept) == len(joined) == 49
    for before, after in zip(kept, joined, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 4
    assert read_sound(path) is None


def test_sound_stays_with_its_pictures(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    loud_late = make_clip("first.mp4", moving_frames(24), sound=beep(1, start=0.5))
    silent = make_clip("second.mp4", moving_frames(24))
    other_rate = make_clip("third.mp4", moving_frames(24), sound=beep(1, start=0.75, rate=44_100))
    path = tmp_path / "joined.mp4"
    join_videos([Part(loud_late), Part(silent), Part(other_rate, drop_first=12)], path, fps=24)
    assert describe_video(path).duration == 2.5
    sound = read_sound(path)
    assert sound is not None
    assert abs(sound.samples.shape[1] / sound.sample_rate - 2.5) < 1 / 24
    expected = [
        (0.0, 0.48, False),
        (0.52, 0.98, True),
        (1.02, 1.98, False),
        (2.0, 2.23, False),
        (2.27, 2.48, True),
    ]
    for start, end, loud in expected:
        assert (loudness(path, start, end) > 0.2) == loud
        if not loud:
            assert loudness(path, start, end) < 0.01


def test_the_last_kept_frame(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", moving_frames(20))
    frames = list(read_frames(path))
    assert np.array_equal(Part(path).last_frame(), frames[19])
    assert np.array_equal(Part(path, drop_first=3, keep_frames=5).last_frame(), frames[7])
    assert np.array_equal(Part(path, keep_frames=99).last_frame(), frames[19])
    with pytest.raises(ValueError, match="nothing is kept"):
        Part(path, drop_first=20).last_frame()


def test_rates_may_differ_a_little(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    part = make_clip("film.mp4", moving_frames(12), fps=24000 / 1001)
    join_videos([Part(part)], tmp_path / "joined.mp4", fps=24)
    assert describe_video(tmp_path / "joined.mp4").fps == 24
    with pytest.raises(ValueError, match=r"23\.976 frames a second can't be joined at 16"):
        join_videos([Part(part)], tmp_path / "joined.mp4", fps=16)


def test_what_can_not_be_joined(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    small = make_clip("small.mp4", moving_frames(3))
    wide = make_clip("wide.mp4", moving_frames(3, width=96))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    before = sorted(tmp_path.iterdir())
    path = tmp_path / "joined.mp4"
    with pytest.raises(ValueError, match="no videos"):
        join_videos([], path, fps=24)
    with pytest.raises(ValueError, match="64×48, 96×48"):
        join_videos([Part(small), Part(wide)], path, fps=24)
    with pytest.raises(ValueError, match="nothing is kept"):
        join_videos([Part(small), Part(small, drop_first=3)], path, fps=24)
    with pytest.raises(InvalidMedia):
        join_videos([Part(small), Part(broken)], path, fps=24)
    assert sorted(tmp_path.iterdir()) == before
