"""Find out what a video file holds."""

from functools import partial
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from msgspec import Struct

from framegate.core.errors import InvalidMedia
from framegate.media.video.color import quarter_turns
from framegate.media.video.containers import DAMAGED, audio_stream, open_video

MAX_SIDE = 4096
MIN_SIDE = 16
MAX_SECONDS = 600
MAX_FPS = 240
MAX_PIXEL_RATE = 1 << 30
"""Pixels a second: 4096×4096 at 64 frames, 3840×2160 at 120."""
MAX_DECODED_PIXELS = 40_000_000_000
"""Pixels of all frames: 10 minutes of 1920×1080 at 30 frames a second."""


class VideoInfo(Struct, frozen=True):
    """What a video file holds: ``width`` and ``height`` in pixels, upright, and ``duration`` in seconds."""

    width: int
    height: int
    num_frames: int
    fps: float
    duration: float


def describe_video(path: Path) -> VideoInfo:
    """Count the file's frames and decode the first, whatever its header says.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    with _open_for_one_frame(path) as (container, stream):
        return _describe(container, stream)


def probe_video(path: Path) -> VideoInfo:
    """Describe an untrusted video, and hold it to what may be decoded.

    That is 4096 pixels a side, 10 minutes, 240 frames a second, `MAX_PIXEL_RATE` and `MAX_DECODED_PIXELS`;
    for its audio, 10 minutes and what `audio_stream` accepts.

    Raises:
        InvalidMedia: The file is not a valid video, is damaged, or exceeds a limit.
    """
    with _open_for_one_frame(path) as (container, stream):
        _check_video(stream.width, stream.height, _seconds(stream))
        if (audio := audio_stream(container)) and (seconds := _seconds(audio)) > MAX_SECONDS:
            raise InvalidMedia(
                f"The sound of this video is {seconds / 60:.1f} minutes long; at most "
                f"{MAX_SECONDS // 60} are accepted."
            )
        declared = stream.width * stream.height
        info = _describe(container, stream, max_frames=MAX_SECONDS * MAX_FPS)
    _check_video(info.width, info.height, info.duration)
    if info.fps > MAX_FPS:
        raise InvalidMedia(f"This video has {info.fps:g} frames a second; at most {MAX_FPS} are accepted.")
    _check_effort(info, max(declared, info.width * info.height))
    return info


# Only the first frame is decoded: each thread would hold frames of its own, and take time to start and stop.
_open_for_one_frame = partial(open_video, threads=1)


def _seconds(stream: VideoStream | AudioStream) -> float:
    return float((stream.duration or 0) * (stream.time_base or 0))


def _check_effort(info: VideoInfo, pixels: int) -> None:
    """Check how much there is to decode, with ``pixels`` a frame."""
    kind = f"This video has {info.num_frames:,} frames of {info.width}×{info.height} pixels"
    if info.num_frames * pixels > MAX_DECODED_PIXELS:
        raise InvalidMedia(
            f"{kind}, which is too much to decode; shorten it or make it smaller. At most "
            f"{MAX_DECODED_PIXELS / 1e9:g} billion pixels are accepted, which are 10 minutes of 1920×1080."
        )
    rate = info.num_frames * pixels / info.duration
    if info.num_frames > 1 and rate > MAX_PIXEL_RATE:
        raise InvalidMedia(
            f"{kind}, {info.num_frames / info.duration:.0f} a second; at most "
            f"{MAX_PIXEL_RATE / pixels:.0f} a second of this size are accepted."
        )


def _describe(container: InputContainer, stream: VideoStream, *, max_frames: int | None = None) -> VideoInfo:
    first: VideoFrame | None = None
    count = start = end = 0
    for packet in container.demux(stream):
        if first is None:
            first = next(iter(packet.decode()), None)
        if packet.size == 0 or packet.is_discard:
            continue
        count += 1
        if max_frames is not None and count > max_frames:
            raise InvalidMedia(f"This video has too many frames; at most {max_frames} are accepted.")
        if packet.pts is not None:
            start = packet.pts if count == 1 else min(start, packet.pts)
            end = max(end, packet.pts + (packet.duration or 0))
    if first is None or not stream.time_base:
        raise InvalidMedia(DAMAGED)
    duration = float((end - start) * stream.time_base)
    rate = stream.average_rate or (count / duration if duration > 0 else 0)
    if not rate:
        raise InvalidMedia("This video has no frame rate.")
    sideways = quarter_turns(first) % 2 == 1
    width, height = (first.height, first.width) if sideways else (first.width, first.height)
    return VideoInfo(width, height, count, float(rate), max(duration, 1 / float(rate)))


def _check_video(width: int, height: int, seconds: float) -> None:
    if max(width, height) > MAX_SIDE or min(width, height) < MIN_SIDE:
        raise InvalidMedia(
            f"This video is {width}×{height} pixels; its sides must be between {MIN_SIDE} and {MAX_SIDE}."
        )
    if seconds > MAX_SECONDS:
        raise InvalidMedia(
            f"This video is {seconds / 60:.1f} minutes long; at most {MAX_SECONDS // 60} are accepted."
        )
