import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framegate.core.backend import Audio
from framegate.media.video.color import to_yuv
from framegate.media.video.encode import QUEUED_FRAMES, VideoEncoder, encode_png
from framegate.media.video.frames import read_frames
from framegate.media.video.probe import describe_video

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def tone(seconds: float, rate: int = 48_000, channels: int = 2, pitch: float = 440.0) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    return Audio(np.stack([wave] * channels).astype(np.float32), rate)


def boxes(content: bytes) -> list[bytes]:
    """The names of an MP4's outermost boxes, in order."""
    names: list[bytes] = []
    place = 0
    while place < len(content):
        names.append(content[place + 4 : place + 8])
        place += int.from_bytes(content[place : place + 4], "big")
    return names


@pytest.mark.parametrize(
    ("fps", "rate"),
    [
        (24, Fraction(24)),
        (16.0, Fraction(16)),
        (24000 / 1001, Fraction(24000, 1001)),
        (12.5, Fraction(25, 2)),
    ],
)
def test_the_file_is_what_was_asked_for(
    fps: float, rate: Fraction, moving_frames: MakeFrames, make_clip: MakeClip
) -> None:
    path = make_clip("clip.mp4", moving_frames(33), fps)
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        context = stream.codec_context
        assert (context.name, context.pix_fmt, context.width, context.height) == ("h264", "yuv420p", 64, 48)
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
        assert stream.average_rate == rate
        assert stream.frames == 33
        assert stream.start_time == 0
        assert stream.duration is not None
        assert stream.time_base is not None
        assert stream.duration * stream.time_base == 33 / rate
        times = [
            frame.pts * frame.time_base
            for frame in container.decode(stream)
            if frame.pts is not None and frame.time_base is not None
        ]
    assert times == [n / rate for n in range(33)]


@pytest.mark.parametrize("fps", [24, 24000 / 1001, 29.97, 12.5, 0.5, 1000])
@pytest.mark.parametrize("audio", [None, tone(0.2)])
def test_the_encoder_knows_what_it_wrote(
    fps: float, audio: Audio | None, moving_frames: MakeFrames, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"
    with VideoEncoder(path, width=64, height=48, fps=fps) as encoder:
        for frame in moving_frames(7):
            encoder.write(frame)
        assert encoder.finish(audio) == describe_video(path)


def test_the_index_comes_first_and_nobody_signs(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", moving_frames(5), audio=tone(0.2))
    content = path.read_bytes()
    order = boxes(content)
    assert order.index(b"moov") < order.index(b"mdat")
    for name in (b"x264", b"Lavf", b"Lavc"):
        assert name not in content
    assert [file.name for file in path.parent.iterdir()] == ["clip.mp4"]


ENCODE_BLOCKS = """
import os, sys
from pathlib import Path
import numpy as np
from framegate.media.video.encode import VideoEncoder

if len(sys.argv) > 2:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
blocks = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
with VideoEncoder(Path(sys.argv[1]), width=320, height=240, fps=24) as encoder:
    for n in range(30):
        encoder.write(np.roll(blocks, (3 * n, 5 * n), (0, 1)))
    encoder.finish()
"""


def test_equal_frames_make_equal_files(tmp_path: Path) -> None:
    """Whatever is left in the memory that x264 gets, and on however many processors."""
    files: set[bytes] = set()
    for garbage, one_processor in (("0", []), ("85", []), ("170", ["one"])):
        path = tmp_path / f"{garbage}.mp4"
        subprocess.run(
            [sys.executable, "-c", ENCODE_BLOCKS, str(path), *one_processor],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_PERTURB_": garbage},
            check=True,
        )
        files.add(path.read_bytes())
    assert len(files) == 1


def test_saturated_colours_survive(make_clip: MakeClip) -> None:
    colours = [
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255),
        (255, 255, 255), (0, 0, 0), (128, 128, 128), (200, 30, 90), (30, 90, 200), (250, 140, 20),
    ]  # fmt: skip
    card = np.concatenate([np.full((96, 32, 3), colour, np.uint8) for colour in colours], axis=1)
    (frame, *_) = read_frames(make_clip("card.mp4", [card] * 3))
    for number, colour in enumerate(colours):
        patch = frame[8:-8, 32 * number + 8 : 32 * number + 24].astype(int)
        assert np.abs(patch - colour).mean() < 1.5
    assert np.abs(frame.astype(int) - card).mean() < 3


def test_pictures_survive(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    frames = moving_frames(20, 320, 240)
    read = list(read_frames(make_clip("clip.mp4", frames)))
    assert len(read) == 20
    for before, after in zip(frames, read, strict=True):
        assert np.abs(before.astype(int) - after).mean() < 4


@pytest.mark.parametrize("rate", [48_000, 44_100, 24_000, 22_050, 11_111])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.0, 0.9, 2.0, 3.0])
def test_audio_is_as_long_as_the_pictures(
    rate: int, channels: int, seconds: float, moving_frames: MakeFrames, make_clip: MakeClip
) -> None:
    path = make_clip("clip.mp4", moving_frames(48), audio=tone(seconds, rate, channels))
    with av.open(str(path)) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == "aac"
        assert track.channels == channels
        assert track.duration is not None
        assert track.time_base is not None
        assert abs(track.duration * track.time_base - 2) < 1 / 24
        assert container.duration is not None
        assert abs(container.duration / 1e6 - 2) < 1 / 24
        blocks = [np.asarray(frame.to_ndarray(), np.float32) for frame in container.decode(track)]
        heard = np.concatenate(blocks, axis=1)
        step = track.rate
    loud = np.abs(heard[:, : 2 * step]).reshape(channels, -1)
    if seconds:
        assert np.abs(loud[:, step // 10 : int(0.8 * step)]).mean() > 0.2
    if seconds < 2:
        assert loud[:, int((seconds + 0.1) * step) :].max() < 0.02


def test_audio_starts_with_the_pictures(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    """A click at half a second is heard at half a second."""
    samples = np.zeros((1, 48_000), np.float32)
    samples[0, 24_000:24_020] = 0.9
    path = make_clip("clip.mp4", moving_frames(24), audio=Audio(samples, 48_000))
    with av.open(str(path)) as container:
        heard = np.concatenate(
            [np.asarray(frame.to_ndarray(), np.float32)[0] for frame in container.decode(audio=0)]
        )
    assert abs(int(np.abs(heard).argmax()) - 24_010) < 100


def test_strange_samples_are_tamed(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    samples = np.full((2, 48_000), np.nan, np.float32)
    samples[1] = 7.0
    path = make_clip("clip.mp4", moving_frames(24), audio=Audio(samples, 48_000))
    with av.open(str(path)) as container:
        heard = [np.asarray(frame.to_ndarray(), np.float32) for frame in container.decode(audio=0)]
    assert np.isfinite(np.concatenate(heard, axis=1)).all()


@pytest.mark.parametrize(
    "audio",
    [
        Audio(np.zeros((3, 100), np.float32), 48_000),
        Audio(np.zeros(100, np.float32), 48_000),
        Audio(np.zeros((100, 2), np.float32), 48_000),
        Audio(np.zeros((2, 100), np.float64).astype(np.float16).view(np.float16), 48_000),  # pyright: ignore[reportArgumentType] # the wrong type is the point
        Audio(np.zeros((2, 100), np.float32), 0),
    ],
)
def test_audio_of_another_shape_is_refused(
    audio: Audio, moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"audio must be|sample rate"):
        make_clip("clip.mp4", moving_frames(2), audio=audio)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (0, 48), (64, -2)])
def test_odd_sizes_are_refused(width: int, height: int, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be even"):
        VideoEncoder(tmp_path / "clip.mp4", width=width, height=height, fps=24)


@pytest.mark.parametrize("fps", [0, -1, 0.0001, 1001, float("nan"), float("inf")])
def test_impossible_rates_are_refused(fps: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frames a second"):
        VideoEncoder(tmp_path / "clip.mp4", width=64, height=48, fps=fps)


def test_other_frames_are_refused(tmp_path: Path) -> None:
    wrong: list[Any] = [
        np.zeros((64, 48, 3), np.uint8),
        np.zeros((48, 64, 4), np.uint8),
        np.zeros((48, 64, 3)),
    ]
    with VideoEncoder(tmp_path / "clip.mp4", width=64, height=48, fps=24) as encoder:
        for frame in wrong:
            with pytest.raises(ValueError, match=r"\(48, 64, 3\).*got " + str(frame.dtype)) as refused:
                encoder.write(frame)
            assert str(frame.shape) in str(refused.value)


def test_frames_may_be_reused_and_need_not_be_contiguous(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    frames = moving_frames(12)
    usual = make_clip("usual.mp4", frames)
    path = tmp_path / "reused.mp4"
    buffer = np.zeros((3, 64, 48), np.uint8).transpose(2, 1, 0)
    with VideoEncoder(path, width=64, height=48, fps=24) as encoder:
        for frame in frames:
            buffer[:] = frame
            encoder.write(buffer)
        encoder.finish()
    assert path.read_bytes() == usual.read_bytes()


def test_no_frames_make_no_video(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"), _encoder(tmp_path) as encoder:
        encoder.finish()
    assert not list(tmp_path.iterdir())


def test_an_exception_removes_the_file(moving_frames: MakeFrames, tmp_path: Path) -> None:
    def fail() -> None:
        with _encoder(tmp_path) as encoder:
            for frame in moving_frames(30):
                encoder.write(frame)
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        fail()
    assert not list(tmp_path.iterdir())
    assert not _encoder_threads()


def test_an_exception_after_the_end_removes_the_file(moving_frames: MakeFrames, tmp_path: Path) -> None:
    def fail() -> None:
        with _encoder(tmp_path) as encoder:
            encoder.write(moving_frames(1)[0])
            encoder.finish()
            with pytest.raises(ValueError, match="closed"):
                encoder.finish()
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        fail()
    assert not list(tmp_path.iterdir())


def test_leaving_without_finish_removes_the_file(moving_frames: MakeFrames, tmp_path: Path) -> None:
    with _encoder(tmp_path) as encoder:
        encoder.write(moving_frames(1)[0])
    assert not list(tmp_path.iterdir())
    encoder.abort()
    with pytest.raises(ValueError, match="closed"):
        encoder.write(moving_frames(1)[0])


def test_a_failing_encoder_is_heard_of(moving_frames: MakeFrames, tmp_path: Path) -> None:
    frames = moving_frames(1) * (QUEUED_FRAMES * 5)

    def write_all() -> None:
        with VideoEncoder(tmp_path / "missing" / "clip.mp4", width=64, height=48, fps=24) as encoder:
            for frame in frames:
                encoder.write(frame)
                time.sleep(0.01)

    def only_finish() -> None:
        with VideoEncoder(tmp_path / "missing" / "clip.mp4", width=64, height=48, fps=24) as encoder:
            encoder.write(frames[0])
            encoder.finish()

    for attempt in (write_all, only_finish):
        with pytest.raises(FileNotFoundError):
            attempt()
    assert not _encoder_threads()


def test_a_failure_at_the_very_end_is_heard_of(
    moving_frames: MakeFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    def encode() -> None:
        with _encoder(tmp_path) as encoder:
            encoder.write(moving_frames(1)[0])
            encoder.finish()

    monkeypatch.setattr("framegate.media.video.encode.sync", fail)
    with pytest.raises(OSError, match="No space"):
        encode()
    assert not list(tmp_path.iterdir())


def test_writing_waits_for_a_slow_encoder(
    moving_frames: MakeFrames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted = 0

    def slowly(frame: av.VideoFrame) -> av.VideoFrame:
        nonlocal converted
        time.sleep(0.01)
        converted += 1
        return to_yuv(frame)

    monkeypatch.setattr("framegate.media.video.encode.to_yuv", slowly)
    with _encoder(tmp_path) as encoder:
        for number, frame in enumerate(moving_frames(20)):
            encoder.write(frame)
            assert number + 1 - converted <= QUEUED_FRAMES + 2
        encoder.finish()
    assert converted == 20


def test_pngs_hold_nothing_but_the_picture(moving_frames: MakeFrames, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    (frame,) = moving_frames(1)
    encode_png(frame, path)
    with Image.open(path) as image:
        assert image.info == {}
        assert np.array_equal(np.asarray(image), frame)
    with pytest.raises(ValueError, match=r"got float32 of shape \(4, 4\)"):
        encode_png(np.zeros((4, 4), np.float32), path)  # pyright: ignore[reportArgumentType] # the wrong type is the point


def _encoder(folder: Path) -> VideoEncoder:
    return VideoEncoder(folder / "clip.mp4", width=64, height=48, fps=24)


def _encoder_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "video-encoder"]
