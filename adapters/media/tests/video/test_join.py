"""Clips joined into one video."""

import tracemalloc
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from framegate.core.backend import Audio
from framegate.core.errors import GenerationFailed, InvalidMedia
from framegate.media.video.audio import AudioTrack, track_of
from framegate.media.video.frames import read_frames
from framegate.media.video.join import Clip, VideoJoiner, open_clip
from framegate.media.video.probe import VideoInfo, describe_video
from framegate.media.video.soundtrack import Soundtrack
from tests.support.audio import read_audio, whole

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def beep(seconds: float, start: float, rate: int = 48_000) -> Audio:
    """Silence, and from ``start`` on a tone."""
    times = np.arange(round(seconds * rate)) / rate
    wave = np.where(times >= start, 0.5 * np.sin(2 * np.pi * 500 * times), 0.0)
    return Audio(wave[None].astype(np.float32), rate)


def join(clips: Iterable[Clip], path: Path, *, fps: float = 24, width: int = 64) -> VideoInfo:
    with VideoJoiner(path, width=width, height=48, fps=fps) as joiner:
        for clip in clips:
            joiner.add(clip)
        return joiner.finish()


def loudness(path: Path, start: float, end: float) -> float:
    audio = read_audio(path, seconds=60)
    assert audio is not None
    return float(np.abs(audio.samples[:, round(start * 48_000) : round(end * 48_000)]).mean())


def test_parts_follow_one_another(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    first = make_clip("first.mp4", moving_frames(24))
    second = make_clip("second.mp4", moving_frames(48)[24:])
    path = tmp_path / "joined.mp4"
    info = join(
        [open_clip(first), open_clip(second, drop_first=4), open_clip(first, drop_first=2, keep_frames=5)],
        path,
    )
    kept = [*read_frames(first), *list(read_frames(second))[4:], *list(read_frames(first))[2:7]]
    joined = list(read_frames(path))
    assert info.num_frames == len(kept) == len(joined) == 49
    assert info == describe_video(path)
    for before, after in zip(kept, joined, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 4
    assert read_audio(path, seconds=60) is None


def test_audio_stays_with_its_pictures(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    loud_late = make_clip("first.mp4", moving_frames(24), audio=beep(1, start=0.5))
    silent = make_clip("second.mp4", moving_frames(24))
    other_rate = make_clip("third.mp4", moving_frames(24), audio=beep(1, start=0.75, rate=44_100))
    path = tmp_path / "joined.mp4"
    join([open_clip(loud_late), open_clip(silent), open_clip(other_rate, drop_first=12)], path)
    assert describe_video(path).duration == 2.5
    audio = read_audio(path, seconds=60)
    assert audio is not None
    assert abs(audio.samples.shape[1] / audio.sample_rate - 2.5) < 1 / 24
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


def test_the_last_kept_frame(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    path = make_clip("clip.mp4", moving_frames(20))
    frames = list(read_frames(path))
    with VideoJoiner(tmp_path / "joined.mp4", width=64, height=48, fps=24) as joiner:
        with pytest.raises(ValueError, match="no clip"):
            _ = joiner.last_frame
        joiner.add(open_clip(path))
        assert np.array_equal(joiner.last_frame, frames[19])
        joiner.add(open_clip(path, drop_first=3, keep_frames=5))
        assert np.array_equal(joiner.last_frame, frames[7])
        joiner.add(open_clip(path, keep_frames=99))
        assert np.array_equal(joiner.last_frame, frames[19])


def test_rates_may_differ_a_little(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    part = make_clip("film.mp4", moving_frames(12), fps=24000 / 1001)
    assert join([open_clip(part)], tmp_path / "joined.mp4", fps=24).fps == 24
    assert describe_video(tmp_path / "joined.mp4").fps == 24
    with pytest.raises(ValueError, match=r"23\.976 frames a second can't be joined at 16"):
        join([open_clip(part)], tmp_path / "joined.mp4", fps=16)


def test_what_can_not_be_joined(moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path) -> None:
    small = make_clip("small.mp4", moving_frames(3))
    wide = make_clip("wide.mp4", moving_frames(3, width=96))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    before = sorted(tmp_path.iterdir())
    path = tmp_path / "joined.mp4"
    with pytest.raises(ValueError, match="at least one frame"):
        join([], path)
    with pytest.raises(ValueError, match="64×48, 96×48"):
        join([open_clip(small), open_clip(wide)], path)
    with pytest.raises(ValueError, match="without frames"):
        join([open_clip(small), open_clip(small, drop_first=3)], path)
    with pytest.raises(InvalidMedia):
        join((open_clip(file) for file in (small, broken)), path)
    assert sorted(tmp_path.iterdir()) == before


def given(frames: Frames, audio: Audio | None, fps: float = 24) -> Clip:
    return Clip(iter(frames), lambda: track_of(audio) if audio else None, 64, 48, fps)


def test_audio_of_files_is_converted_to_that_of_frames(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    file = make_clip("file.mp4", moving_frames(24), audio=beep(1, start=0.5))
    path = tmp_path / "joined.mp4"
    join([open_clip(file), given(moving_frames(24), beep(1, start=0.5, rate=16_000))], path)
    assert loudness(path, 0.02, 0.48) < 0.01 < 0.2 < loudness(path, 0.52, 0.98)
    assert loudness(path, 1.02, 1.48) < 0.01 < 0.2 < loudness(path, 1.52, 1.98)
    with av.open(path) as video:
        [track] = video.streams.audio
        assert (track.rate, track.channels) == (16_000, 1)


def test_audio_of_frames_must_be_alike(moving_frames: MakeFrames, tmp_path: Path) -> None:
    clips = [given(moving_frames(2), beep(1, start=0, rate=rate)) for rate in (16_000, 24_000)]
    with pytest.raises(GenerationFailed, match="differs in sample rate"):
        join(clips, tmp_path / "joined.mp4")
    assert list(tmp_path.iterdir()) == []


def test_audio_does_not_drift(tmp_path: Path) -> None:
    """At this rate a frame is 333.67 samples: rounded for each clip they would add up."""
    rate = Fraction(24000, 1001)
    audio = Audio(np.zeros((1, 8000), np.float32), 8000)
    soundtrack = Soundtrack(tmp_path / "sound")
    for _ in range(300):
        soundtrack.add(track_of(audio), 1 / rate)
    track = soundtrack.join()
    assert track is not None
    joined = whole(track)
    assert joined is not None
    assert joined.samples.shape == (1, round(300 / rate * 8000))


def test_audio_takes_no_more_memory_the_longer_it_is(tmp_path: Path) -> None:
    second = np.full((2, 48_000), 0.25, np.float32)
    soundtrack = Soundtrack(tmp_path / "sound")
    tracemalloc.start()
    try:
        for rate in (48_000, 24_000):
            track = AudioTrack(rate, 2, (second for _ in range(60)))
            soundtrack.add(track, Fraction(60), resampled=rate != 48_000)
        joined = soundtrack.join()
        assert joined is not None
        samples = sum(block.shape[1] for block in joined.blocks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert samples == 120 * 48_000
    assert peak < 5_000_000, "two minutes in stereo have 46 MB"
    soundtrack.remove()
    assert list(tmp_path.iterdir()) == []
