"""Find out what a video file holds."""

from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from msgspec import Struct

from framegate.core.errors import InvalidMedia
from framegate.media.video.color import quarter_turns
from framegate.media.video.containers import DAMAGED, open_video

MAX_SIDE = 4096
MIN_SIDE = 16
MAX_SECONDS = 600
MAX_FPS = 240


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
    with open_video(path) as (container, stream):
        return _describe(container, stream)


def probe_video(path: Path) -> VideoInfo:
    """Describe an untrusted video, and hold it to 4096 pixels a side, 10 minutes and 240 frames a second.

    Raises:
        InvalidMedia: The file is not a valid video, is damaged, or exceeds a limit.
    """
    with open_video(path) as (container, stream):
        _check_video(stream.width, stream.height, float((stream.duration or 0) * (stream.time_base or 0)))
        info = _describe(container, stream, max_frames=MAX_SECONDS * MAX_FPS)
    _check_video(info.width, info.height, info.duration)
    if info.fps > MAX_FPS:
        raise InvalidMedia(f"This video has {info.fps:g} frames a second; at most {MAX_FPS} are accepted.")
    return info


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
