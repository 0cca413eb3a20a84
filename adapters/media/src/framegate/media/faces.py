"""Whom or what images show best: a face, or without any the sharpest frame.

Faces are found with OpenCV. Where it is not installed (the extra ``faces``), the sharpest frame is taken.
"""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

if TYPE_CHECKING:
    from framegate.core.backend import Frame

    Gray = NDArray[np.uint8]

_LOOKED_AT = 640
"""Pixels of the longer side of what the detector sees: larger finds no more faces and takes longer."""
_SMALLEST_SHARE = 12
"""A face is at least this part of the shorter side; smaller ones make no character."""
_AROUND_FACE = 1.9
"""How much of what is around a face an avatar shows."""


class Square(Struct, frozen=True):
    left: int
    top: int
    side: int

    def cut(self, picture: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        return picture[self.top : self.top + self.side, self.left : self.left + self.side]


class View(Struct, frozen=True):
    """``avatar`` is the part of ``frame`` to show for it, ``face`` the face in it, if there is one."""

    frame: "Frame"
    avatar: Square
    face: Square | None


def best_view(frames: "Iterable[Frame]") -> View | None:
    """The frame with the largest and sharpest face, else the sharpest of them; None if there are none."""
    best: View | None = None
    best_rank = (False, -1.0)
    for frame in frames:
        gray = _gray(frame)
        face = find_face(gray)
        seen = face.cut(gray) if face else gray
        rank = (face is not None, sharpness(seen) * (face.side if face else 1))
        if rank > best_rank:
            best_rank = rank
            best = View(frame, _avatar(gray.shape[1], gray.shape[0], face), face)
    return best


def find_face(gray: "Gray") -> Square | None:
    """Return the largest face that looks into the camera; None if there is none, or OpenCV is missing."""
    if find_spec("cv2") is None:
        return None
    import cv2

    height, width = gray.shape
    scale = min(1.0, _LOOKED_AT / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if scale < 1 else gray
    least = max(20, min(size) // _SMALLEST_SHARE)
    found = _detector().detectMultiScale(small, 1.1, 6, minSize=(least, least))
    if not len(found):
        return None
    left, top, side = (int(value / scale) for value in max(found, key=lambda box: int(box[2]))[:3])
    return Square(left, top, min(side, width - left, height - top))


@cache
def _detector() -> Any:
    import cv2

    # cv2.data, which names this folder, is not in the package's type stubs.
    folder = Path(cv2.__file__).with_name("data")
    return cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))


def sharpness(gray: "Gray") -> float:
    """The variance of the picture's Laplacian: low where it is blurred or empty."""
    if min(gray.shape) < 3:
        return 0.0
    g = gray.astype(np.int16)
    edges = g[1:-1, :-2] + g[1:-1, 2:] + g[:-2, 1:-1] + g[2:, 1:-1] - 4 * g[1:-1, 1:-1]
    return float(edges.var(dtype=np.float32))


def _gray(frame: "Frame") -> "Gray":
    red, green, blue = (frame[..., channel].astype(np.uint16) for channel in range(3))
    return ((red * 77 + green * 150 + blue * 29) >> 8).astype(np.uint8)


def _avatar(width: int, height: int, face: Square | None) -> Square:
    """The face and what is around it, within the picture; its middle where there is no face."""
    most = min(width, height)
    if face is None:
        return Square((width - most) // 2, (height - most) // 2, most)
    side = min(most, round(face.side * _AROUND_FACE))

    def start(middle: float, length: int) -> int:
        return min(max(0, round(middle - side / 2)), length - side)

    return Square(start(face.left + face.side / 2, width), start(face.top + face.side / 2, height), side)
