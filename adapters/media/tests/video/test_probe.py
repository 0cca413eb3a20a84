# pyright: reportUnknownMemberType=false
# PyAV's type stubs leave packets and keyword arguments without types.

import math
import os
import resource
import struct
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import DataObject, binary, data, integers, sampled_from
from numpy.typing import NDArray
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.video.frames import frame_at, read_frames
from framegate.media.video.probe import VideoInfo, describe_video, probe_video

Frames = list[NDArray[np.uint8]]
MakeFrames = Callable[..., Frames]
MakeClip = Callable[..., Path]


def blank(
    path: Path,
    count: int,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    fps: int = 24,
    turn: int = 0,
) -> Path:
    """A grey video in any container and codec."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        if turn:
            stream.set_display_rotation(turn)
        for _ in range(count):
            picture = av.VideoFrame(*size, format=pix_fmt)
            for plane in picture.planes:
                plane.update(b"\x80" * plane.buffer_size)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


@pytest.fixture
def own_priority() -> Iterator[None]:
    """SVT-AV1 gives the process real-time priority, where it may; every process started later inherits it."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, policy, parameters)


def test_our_own_files(moving_frames: MakeFrames, make_clip: MakeClip) -> None:
    path = make_clip("clip.mp4", moving_frames(36))
    assert describe_video(path) == VideoInfo(64, 48, 36, 24.0, 1.5)
    assert probe_video(path) == describe_video(path)


@pytest.mark.usefixtures("own_priority")
@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p"),
        ("a.mp4", "libx265", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.webm", "libvpx", "yuv420p"),
        ("a.mp4", "libsvtav1", "yuv420p"),
        ("a.mp4", "mpeg4", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.gif", "gif", "gray"),
    ],
)
def test_containers_and_codecs(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    info = probe_video(blank(tmp_path / name, 20, codec=codec, pix_fmt=pix_fmt))
    assert (info.width, info.height, info.num_frames) == (64, 48, 20)
    assert info.fps == pytest.approx(25 if codec == "gif" else 24, rel=0.01)
    assert info.duration == pytest.approx(20 / 24, abs=0.05)


def test_the_size_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    info = probe_video(blank(tmp_path / "a.mp4", 3, turn=90))
    assert (info.width, info.height) == (48, 64)


@pytest.mark.parametrize("size", [(4200, 64), (64, 4200), (8, 64)])
def test_sizes_beyond_the_limits(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(
        InvalidMedia, match=f"{size[0]}×{size[1]} pixels; its sides must be between 16 and 4096"
    ):
        probe_video(blank(tmp_path / "a.mp4", 1, size=size))


def test_lengths_beyond_the_limit(tmp_path: Path) -> None:
    path = blank(tmp_path / "a.mp4", 620, size=(16, 16), fps=1)
    assert describe_video(path).duration == 620
    with pytest.raises(InvalidMedia, match=r"10\.3 minutes long; at most 10 are accepted"):
        probe_video(path)
    with pytest.raises(InvalidMedia, match=r"minutes long; at most 10 are accepted"):
        probe_video(blank(tmp_path / "a.mkv", 620, size=(16, 16), fps=1))


def test_rates_beyond_the_limit(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia, match="480 frames a second; at most 240"):
        probe_video(blank(tmp_path / "a.mp4", 50, size=(16, 16), fps=480))


def test_huge_frames_are_not_decoded(tmp_path: Path) -> None:
    """A small file that claims 900 megapixels costs next to nothing."""
    path = blank(tmp_path / "a.gif", 1, codec="gif", pix_fmt="gray")
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", 30_000, 30_000)
    path.write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    for look in (probe_video, describe_video):
        with pytest.raises(InvalidMedia):
            look(path)
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def repeated(path: Path, size: tuple[int, int], count: int, fps: int, *, growing_to: int = 0) -> Path:
    """A video that shows one JPEG ``count`` times, or a JPEG of ``growing_to``² pixels from the second on."""

    def jpeg(width: int, height: int) -> bytes:
        buffer = BytesIO()
        Image.new("L", (width, height)).save(buffer, "JPEG")
        return buffer.getvalue()

    first = jpeg(*size)
    later = jpeg(growing_to, growing_to) if growing_to else first
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p"
        for number in range(count):
            packet = av.Packet(later if number else first)
            packet.pts = packet.dts = number
            packet.time_base = Fraction(1, fps)
            packet.duration = 1
            packet.is_keyframe = True
            packet.stream = stream
            container.mux(packet)
    return path


def test_frames_that_take_too_long_to_decode_are_refused(tmp_path: Path) -> None:
    """4096×4096 at 240 frames a second: within each limit of its own, and minutes of work."""
    path = repeated(tmp_path / "a.mp4", (4096, 4096), 24, 240)
    assert path.stat().st_size < 5_000_000
    started = time.process_time()
    with pytest.raises(InvalidMedia, match=r"24 frames of 4096×4096 pixels, 240 a second; at most 64"):
        probe_video(path)
    assert time.process_time() - started < 2
    probe_video(repeated(tmp_path / "b.mp4", (4096, 4096), 24, 60))
    probe_video(repeated(tmp_path / "c.mp4", (1920, 1080), 48, 240))


def test_all_frames_together_are_limited(tmp_path: Path) -> None:
    """Ten minutes of 2048×2048, in a file of some megabytes."""
    with pytest.raises(InvalidMedia, match=r"14,400 frames of 2048×2048 .* too much .* 40 billion pixels"):
        probe_video(repeated(tmp_path / "a.mkv", (2048, 2048), 14_400, 24))
    assert probe_video(repeated(tmp_path / "b.mkv", (320, 240), 14_000, 24)).num_frames == 14_000


def test_frames_may_not_outgrow_the_video(tmp_path: Path) -> None:
    """What intake saw is a small video; four times the pixels are the most it may become."""
    path = repeated(tmp_path / "a.mkv", (640, 480), 5, 24, growing_to=2000)
    assert probe_video(path).width == 640
    frames = read_frames(path)
    assert next(frames).shape == (480, 640, 3)
    with pytest.raises(InvalidMedia):
        list(frames)
    assert len(list(read_frames(repeated(tmp_path / "b.mkv", (640, 480), 5, 24, growing_to=1000)))) == 5


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 10.0**9])
def test_time_stamps_that_jump_are_the_length_of_the_video(jump: float, tmp_path: Path) -> None:
    """Two frames may be an hour apart; nothing is made of the time between."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=24)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        buffer = BytesIO()
        Image.new("L", (64, 48)).save(buffer, "JPEG")
        for seconds in sorted((0.0, jump)):
            packet = av.Packet(buffer.getvalue())
            packet.pts = packet.dts = round(seconds * 1000)
            packet.time_base = Fraction(1, 1000)
            packet.stream = stream
            container.mux(packet)
    with pytest.raises(InvalidMedia, match=r"minutes long; at most 10|no frame rate|pixels a second"):
        probe_video(path)


def test_files_with_very_many_streams_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    with av.open(str(path), "w") as container:
        for _ in range(129):
            stream = container.add_stream("mjpeg", rate=24)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for added in container.streams:
            packet = av.Packet(bytes(100))
            packet.pts = packet.dts = 0
            packet.time_base = Fraction(1, 24)
            packet.stream = added
            container.mux(packet)
    with pytest.raises(InvalidMedia, match="129 streams; at most 128"):
        probe_video(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty", b""),
        ("text", b"this is not a video"),
        (
            "playlist.m3u8",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        ),
        ("list.ffconcat", b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
        ("stream.mpd", b"<?xml version='1.0'?><MPD></MPD>"),
        ("session.sdp", b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n"),
        ("picture.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
        ("subtitles.srt", b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    ],
)
def test_other_files_are_no_videos(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidMedia, match=r"not a video that can be read \(MP4"):
        probe_video(path)


def test_disguised_playlists_are_no_videos(tmp_path: Path) -> None:
    """Names say nothing, and neither do playlists behind a video's first bytes."""
    playlist = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/\n"
    for head in (b"\0\0\0\x08ftyp", b"\x1a\x45\xdf\xa3", b"GIF89a"):
        path = tmp_path / "clip.mp4"
        path.write_bytes(head + playlist)
        with pytest.raises(InvalidMedia):
            probe_video(path)


def test_files_without_pictures(tmp_path: Path) -> None:
    path = tmp_path / "audio.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2048), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        stream.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InvalidMedia, match="no video stream"):
        probe_video(path)


def test_other_codecs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia, match="is not supported; use H"):
        probe_video(blank(tmp_path / "a.mkv", 3, codec="ffv1"))


def test_files_that_promise_more_than_they_hold(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path
) -> None:
    content = make_clip("clip.mp4", moving_frames(10)).read_bytes()
    path = tmp_path / "header.mp4"
    path.write_bytes(content[: content.index(b"mdat") + 4])
    with pytest.raises(InvalidMedia):
        probe_video(path)


@settings(deadline=None, max_examples=40)
@given(
    binary(max_size=300),
    sampled_from([b"\0\0\0\x18ftypisom", b"\x1a\x45\xdf\xa3", b"GIF89a", b"\0\0\0\x08moov"]),
)
def test_random_bytes_raise_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, magic: bytes
) -> None:
    path = tmp_path_factory.mktemp("random") / "video"
    path.write_bytes(magic + content)
    with pytest.raises(InvalidMedia):
        probe_video(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=data())
def test_mutated_files_raise_nothing_else(
    moving_frames: MakeFrames, make_clip: MakeClip, tmp_path: Path, draw: DataObject
) -> None:
    originals = {"mp4": tmp_path / "clip.mp4", "webm": tmp_path / "a.webm", "gif": tmp_path / "a.gif"}
    if not originals["gif"].exists():
        make_clip("clip.mp4", moving_frames(10))
        blank(originals["webm"], 10, codec="libvpx")
        blank(originals["gif"], 10, codec="gif", pix_fmt="gray")
    content = bytearray(originals[draw.draw(sampled_from(sorted(originals)))].read_bytes())
    for _ in range(draw.draw(integers(1, 8))):
        content[draw.draw(integers(0, len(content) - 1))] = draw.draw(integers(0, 255))
    path = tmp_path / "mutated"
    path.write_bytes(content)
    try:
        info = probe_video(path)
        frame_at(path, math.inf)
    except InvalidMedia:
        return
    assert info.num_frames >= 1
