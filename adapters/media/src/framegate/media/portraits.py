"""Make images of whom (or what) a part of a video shows."""

import math
from itertools import chain
from pathlib import Path

from msgspec import Struct
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.faces import best_view
from framegate.media.video.encode import encode_png
from framegate.media.video.frames import frame_at, frames_between

MAX_SECONDS = 10.0
"""How much of a video is looked at."""
MAX_FRAMES = 24
AVATAR_SIDE = 512


class PortraitFiles(Struct, frozen=True):
    """Two PNGs: a square avatar, and the whole frame that it was cropped from, of ``width`` × ``height``."""

    avatar: Path
    reference: Path
    width: int
    height: int


def make_portrait(video: Path, folder: Path, *, start: float, end: float, length: float) -> PortraitFiles:
    """Write the best view of the seconds ``start`` to ``end`` of a video of ``length`` seconds.

    Raises:
        InvalidMedia: The interval lies outside the video, or the video is damaged.
    """
    if not (0 <= start <= end < math.inf and start < length):  # also rejects NaN
        raise InvalidMedia(
            f"The seconds {start:g} to {end:g} lie outside the video, which is {length:.2f} s long.",
            param="timestamps",
        )
    end = min(end, length, start + MAX_SECONDS)
    # The frame shown at the start may have appeared before it.
    frames = chain([frame_at(video, start)], frames_between(video, start, end, count=MAX_FRAMES))
    view = best_view(frames)
    assert view is not None
    height, width, _ = view.frame.shape
    files = PortraitFiles(folder / "avatar.png", folder / "reference.png", width, height)
    encode_png(view.frame, files.reference)
    avatar = Image.fromarray(view.avatar.crop(view.frame))
    avatar.thumbnail((AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.LANCZOS)
    avatar.save(files.avatar, "PNG")
    return files
