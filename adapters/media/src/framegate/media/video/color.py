"""Convert RGB to YUV and back, so that images keep their colours on the way through a video."""

import threading
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)

if TYPE_CHECKING:
    from framegate.core.backend import Frame

# Chroma at half size loses less than half as much this way as with the default (bilinear, nearest on the
# way back), and the pixels don't depend on the processor.
RESAMPLING = (
    Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
)

UNTAGGED = 2
"""The tag of files that don't name their matrix. Players then go by the size, and so does `to_rgb`."""


class _Reformatter(threading.local):
    """What a thread has prepared for frames of one size and format: that costs a quarter of a conversion."""

    def __init__(self) -> None:
        self.reformat = VideoReformatter().reformat


_reformatter = _Reformatter()


def to_yuv(frame: VideoFrame) -> VideoFrame:
    """Convert an RGB frame to yuv420p, BT.709, limited range, and tag it so."""
    converted = _reformatter.reformat(
        frame,
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
        interpolation=RESAMPLING,
    )
    converted.color_primaries = ColorPrimaries.BT709
    converted.color_trc = ColorTrc.BT709
    return converted


def to_rgb(frame: VideoFrame) -> "Frame":
    """Return the upright pixels of a decoded frame, by the colour matrix that it is tagged with."""
    matrix = None
    if frame.colorspace == UNTAGGED and not frame.format.is_rgb:
        high_definition = frame.width >= 1280 or frame.height > 576
        matrix = Colorspace.ITU709 if high_definition else Colorspace.ITU601
    converted = _reformatter.reformat(frame, format="rgb24", src_colorspace=matrix, interpolation=RESAMPLING)
    pixels = np.asarray(converted.to_ndarray(), dtype=np.uint8)
    turns = quarter_turns(frame)
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def quarter_turns(frame: VideoFrame) -> int:
    """Return how many times a frame must be turned counterclockwise by 90° to be upright."""
    return round(frame.rotation / 90) % 4
