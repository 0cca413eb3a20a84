"""Animated pictures as videos."""

# pyright: reportUnknownArgumentType=false
# PyAV's type stubs leave `VideoFrame.from_image` without types.

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame
from PIL import Image, ImageSequence


def video_of(path: Path, fps: float) -> Path:
    """The animation as a Matroska file of ``fps`` frames a second that has lost nothing: FFmpeg reads no
    animated WebP, and whoever wants an MP4 of it makes one as of all other videos.

    Raises:
        OSError, ValueError: it can't be read.
    """
    target = path.with_name(f"{path.stem}-frames.mkv")
    with Image.open(path) as animation, av.open(target, "w") as made:
        rate = Fraction(fps).limit_denominator(1001)
        stream = made.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height = (side - side % 2 for side in animation.size)
        stream.pix_fmt = "rgb24"
        for index, picture in enumerate(_evenly(animation, fps)):
            even = picture.crop((0, 0, stream.width, stream.height))  # as H.264 wants its sides
            frame: VideoFrame = VideoFrame.from_image(even)  # type: ignore[no-untyped-call]  # PyAV's stub
            frame.pts, frame.time_base = index, 1 / rate
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    path.unlink()
    return target


def _evenly(animation: Image.Image, fps: float) -> Iterator[Image.Image]:
    """Its pictures at ``fps``. Those that stand still are merged into one of a longer duration; ComfyUI gives
    each picture whole milliseconds, rounded down."""
    each, shown, told = int(1000 / fps), 0.0, 0
    for picture in ImageSequence.Iterator(animation):
        rgb = picture.convert("RGB")
        shown += picture.info.get("duration") or each
        while told < max(1, round(shown / each)):
            yield rgb
            told += 1
