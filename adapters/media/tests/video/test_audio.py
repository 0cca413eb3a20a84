# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyAV's type stubs leave packets and keyword arguments without types.
"""The sound of untrusted videos: what is accepted, and how much of it is ever decoded."""

import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from framegate.core.backend import Audio
from framegate.core.errors import InvalidMedia
from framegate.media.video import audio as audio_module
from framegate.media.video.audio import RATE
from framegate.media.video.join import VideoJoiner, open_clip
from framegate.media.video.probe import describe_video, probe_video
from tests.support.audio import read_audio, whole

HALF_HOUR = 1800


def constant(kind: av.AudioFormat, level: float, size: int) -> bytes:
    """``size`` bytes of samples of one level."""
    if kind.name.startswith("flt"):
        sample = np.full(1, level, "<f4")
    else:
        sample = np.full(1, level * 2 ** (8 * kind.bytes - 1), f"<i{kind.bytes}")
    return sample.tobytes() * (size // kind.bytes)


def film(
    path: Path,
    codec: str = "aac",
    *,
    sound: float = 1.0,
    rate: int = 48_000,
    layout: str = "stereo",
    start: float = 0.0,
    level: float = 0.25,
) -> Path:
    """One second of grey at 64×48, and ``sound`` seconds of audio at a constant level from ``start`` on."""
    with av.open(str(path), "w") as container:
        video, track = container.add_stream("libx264", rate=24), container.add_stream(codec, rate=rate)
        assert isinstance(video, av.VideoStream)
        assert isinstance(track, av.AudioStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track.layout = layout
        for number in range(24):
            image = av.VideoFrame(64, 48, format="yuv420p")
            for picture_plane in image.planes:
                picture_plane.update(b"\x80" * picture_plane.buffer_size)
            image.pts, image.time_base = number, Fraction(1, 24)
            container.mux(video.encode(image))
        container.mux(video.encode())
        context = track.codec_context
        frame = av.AudioFrame(format=context.format.name, layout=layout, samples=context.frame_size or 4096)
        for plane in frame.planes:
            plane.update(constant(context.format, level, plane.buffer_size))
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for position in range(0, round(sound * rate), frame.samples):
            frame.pts = round(start * rate) + position
            container.mux(track.encode(frame))
        container.mux(track.encode())
    return path


@pytest.fixture(scope="module")
def half_an_hour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of picture with half an hour of silence, in less than half a megabyte."""
    path = film(tmp_path_factory.mktemp("long") / "long.mp4", "flac", sound=HALF_HOUR, level=0.0)
    assert path.stat().st_size < 500_000
    return path


def test_the_sound_ends_with_the_picture(half_an_hour: Path) -> None:
    tracemalloc.start()
    try:
        audio = read_audio(half_an_hour, seconds=1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert audio is not None
    assert audio.samples.shape == (2, RATE)
    assert peak < 4_000_000, "a second in stereo has 384 kB"


def test_a_clip_reads_the_sound_of_its_own_length(half_an_hour: Path) -> None:
    for clip, samples in [
        (open_clip(half_an_hour), RATE),
        (open_clip(half_an_hour, keep_frames=6), RATE / 4),
    ]:
        track = clip.audio()
        assert track is not None
        audio = whole(track)
        assert audio is not None
        assert audio.samples.shape[1] == samples


def test_sound_that_is_far_too_long_is_refused(half_an_hour: Path) -> None:
    with pytest.raises(InvalidMedia, match=r"sound of this video is 30\.0 minutes long; at most 10"):
        probe_video(half_an_hour)


def test_sound_may_be_longer_than_the_picture(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", sound=5.0)
    assert probe_video(path).duration == 1.0
    audio = read_audio(path, seconds=1.0)
    assert audio is not None
    assert audio.samples.shape == (2, RATE)
    assert float(np.abs(audio.samples).mean()) > 0.1


def test_sound_may_be_shorter_than_the_picture(tmp_path: Path) -> None:
    audio = read_audio(film(tmp_path / "a.mov", "pcm_s16le", sound=0.5), seconds=1.0)
    assert audio is not None
    assert 0.5 <= audio.samples.shape[1] / RATE < 0.6


@pytest.mark.parametrize(
    ("name", "codec", "rate", "layout"),
    [
        ("a.mp4", "aac", 44_100, "mono"),
        ("a.mp4", "aac", 48_000, "5.1"),
        ("a.mkv", "ac3", 48_000, "5.1"),
        ("a.mkv", "flac", 96_000, "7.1"),
        ("a.mp4", "libmp3lame", 22_050, "stereo"),
        ("a.mkv", "libopus", 48_000, "stereo"),
        ("a.mov", "pcm_s16be", 192_000, "stereo"),
        ("a.mov", "pcm_s24be", 48_000, "stereo"),
        ("a.mov", "pcm_mulaw", 8_000, "mono"),
    ],
)
def test_formats_of_films(name: str, codec: str, rate: int, layout: str, tmp_path: Path) -> None:
    path = film(tmp_path / name, codec, rate=rate, layout=layout)
    probe_video(path)
    audio = read_audio(path, seconds=1.0)
    assert audio is not None
    assert audio.samples.shape[0] == 2
    assert 0.9 < audio.samples.shape[1] / RATE <= 1.0
    assert float(np.abs(audio.samples[:, 1000:2000]).mean()) > 0.05  # Opus takes the constant level out


@pytest.mark.parametrize("codec", ["mp2", "tta", "wavpack"])
def test_other_codecs_are_refused_before_and_while_reading(codec: str, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", codec)
    complaint = f"audio codec {codec} is not supported; use AAC"
    with pytest.raises(InvalidMedia, match=complaint):
        probe_video(path)
    with pytest.raises(InvalidMedia, match=complaint):
        read_audio(path, seconds=1.0)
    assert describe_video(path).num_frames == 24


def test_decoders_are_held_to_the_whitelist_by_ffmpeg_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framegate.media.video.containers.AUDIO_CODECS", frozenset({"mp2"}))
    with pytest.raises(InvalidMedia, match="damaged"):
        read_audio(film(tmp_path / "a.mkv", "mp2"), seconds=1.0)


@pytest.mark.parametrize(
    ("rate", "layout", "complaint"),
    [
        (48_000, "hexadecagonal", r"16 channels; between 1 and 8"),
        (384_000, "stereo", r"384,000 samples a second; between 4,000 and 192,000"),
        (2_000, "stereo", r"2,000 samples a second"),
    ],
)
def test_impossible_formats_are_refused(rate: int, layout: str, complaint: str, tmp_path: Path) -> None:
    path = film(tmp_path / "a.mkv", "pcm_s16le", rate=rate, layout=layout)
    with pytest.raises(InvalidMedia, match=complaint):
        probe_video(path)
    with pytest.raises(InvalidMedia, match=complaint):
        read_audio(path, seconds=1.0)


@pytest.mark.parametrize("start", [3600.0, 400_000.0])
def test_sound_that_begins_after_the_picture_is_silence(start: float, tmp_path: Path) -> None:
    """Nothing is padded up to it: a day of silence would be 33 GB."""
    assert read_audio(film(tmp_path / "a.mkv", "flac", start=start), seconds=1.0) is None


def test_sound_that_begins_late_is_padded(tmp_path: Path) -> None:
    audio = read_audio(film(tmp_path / "a.mkv", "flac", start=0.5), seconds=1.0)
    assert audio is not None
    assert audio.samples.shape == (2, RATE)
    assert not audio.samples[:, : RATE // 2 - 100].any()
    assert (audio.samples[:, RATE // 2 + 100 : -100] > 0.2).all()


def test_frames_may_change_their_format_but_not_to_an_impossible_one() -> None:
    def frame(rate: int, layout: str) -> av.AudioFrame:
        channels = {"mono": 1, "stereo": 2}[layout]
        made = av.AudioFrame.from_ndarray(
            np.full((channels, 4096), 0.25, np.float32), format="fltp", layout=layout
        )
        made.sample_rate = rate
        return made

    in_stereo = audio_module._in_stereo  # pyright: ignore[reportPrivateUsage]
    blocks = list(in_stereo([frame(48_000, "stereo"), frame(24_000, "mono"), frame(48_000, "mono")]))
    assert sum(block.shape[1] for block in blocks) == pytest.approx(4096 * 4, abs=64)
    with pytest.raises(InvalidMedia, match="1 samples a second"):
        list(in_stereo([frame(48_000, "stereo"), frame(1, "stereo")]))


def test_encoding_holds_no_second_copy_of_the_sound(tmp_path: Path) -> None:
    seconds = 20
    sound = np.full((2, seconds * RATE), 0.25, np.float32)
    joiner = VideoJoiner(tmp_path / "a.mp4", width=64, height=48, fps=1)
    for _ in range(seconds):
        joiner._encoder.write(np.zeros((48, 64, 3), np.uint8))  # pyright: ignore[reportPrivateUsage]
    tracemalloc.start()
    try:
        joiner._encoder.finish(Audio(sound, RATE))  # pyright: ignore[reportPrivateUsage]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < sound.nbytes / 4
