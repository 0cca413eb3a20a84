"""Pictures of whom (or what) a part of a video shows."""

import math
from itertools import chain
from pathlib import Path

from msgspec import Struct
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.media.faces import best_view
from framegate.media.video.encode import encode_png
from framegate.media.video.frames import frame_at, frames_between

MOST_SECONDS = 10.0
"""More of a video than this is not looked at."""
MOST_FRAMES = 24
AVATAR_SIDE = 512


class PortraitFiles(Struct, frozen=True):
    """Two PNGs: a square avatar, and the whole frame that it is from, with its size."""

    avatar: Path
    reference: Path
    width: int
    height: int


def make_portrait(video: Path, folder: Path, *, start: float, end: float, length: float) -> PortraitFiles:
    """Write the best picture of the seconds ``start`` to ``end`` of a video of ``length`` seconds.

    Raises:
        InvalidMedia: the video has no such seconds, or is damaged.
    """
    if not (0 <= start <= end < math.inf and start < length):  # NaN is not, either
        raise InvalidMedia(
            f"The seconds {start:g} to {end:g} are not in the video, which is {length:.2f} s long.",
            param="timestamps",
        )
    end = min(end, length, start + MOST_SECONDS)
    # The frame on show at the start may have appeared before it.
    frames = chain([frame_at(video, start)], frames_between(video, start, end, most=MOST_FRAMES))
    view = best_view(frames)
    assert view is not None
    height, width, _ = view.frame.shape
    files = PortraitFiles(folder / "avatar.png", folder / "reference.png", width, height)
    encode_png(view.frame, files.reference)
    avatar = Image.fromarray(view.avatar.cut(view.frame))
    avatar.thumbnail((AVATAR_SIDE, AVATAR_SIDE), Image.Resampling.LANCZOS)
    avatar.save(files.avatar, "PNG")
    return files
