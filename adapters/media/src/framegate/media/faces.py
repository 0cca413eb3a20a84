"""Choose the frame that shows somebody, or something, best.

Faces are found with OpenCV. Where it is not installed (the extra ``faces``), the sharpest frame is chosen.
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

_DETECTION_SIDE = 640
"""Pixels of the longer side that the detector sees: larger images take longer and reveal no more faces."""
_MIN_FACE_FRACTION = 1 / 12
"""The smallest face that is detected, as a fraction of the shorter side; smaller ones make no character."""
_AVATAR_SCALE = 1.9
"""The side of an avatar, relative to the face in it."""


class Square(Struct, frozen=True):
    """A square part of an image, in pixels."""

    left: int
    top: int
    side: int

    def crop(self, image: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
        """Return this part of ``image`` (height × width, with or without channels), as a view."""
        return image[self.top : self.top + self.side, self.left : self.left + self.side]


class View(Struct, frozen=True):
    """A frame, the part of it that makes an avatar, and the face in it, if there is one."""

    frame: "Frame"
    avatar: Square
    face: Square | None


def best_view(frames: "Iterable[Frame]") -> View | None:
    """Return the frame with the largest and sharpest face, else the sharpest; None if there are no frames."""
    best: View | None = None
    best_rank = (False, -1.0)
    for frame in frames:
        gray = _gray(frame)
        face = find_face(gray)
        subject = face.crop(gray) if face else gray
        rank = (face is not None, sharpness(subject) * (face.side if face else 1))
        if rank > best_rank:
            best_rank = rank
            best = View(frame, _avatar(gray.shape[1], gray.shape[0], face), face)
    return best


def find_face(gray: "Gray") -> Square | None:
    """Return the largest frontal face; None if there is none, or OpenCV is missing."""
    if find_spec("cv2") is None:
        return None
    import cv2

    height, width = gray.shape
    scale = min(1.0, _DETECTION_SIDE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(gray, size, interpolation=cv2.INTER_AREA) if scale < 1 else gray
    smallest = max(20, int(min(size) * _MIN_FACE_FRACTION))
    faces = _detector().detectMultiScale(small, 1.1, 6, minSize=(smallest, smallest))
    if not len(faces):
        return None
    left, top, side = (int(value / scale) for value in max(faces, key=lambda box: int(box[2]))[:3])
    return Square(left, top, min(side, width - left, height - top))


@cache
def _detector() -> Any:
    import cv2

    # cv2.data, which names this folder, is not in the package's type stubs.
    folder = Path(cv2.__file__).with_name("data")
    return cv2.CascadeClassifier(str(folder / "haarcascade_frontalface_alt2.xml"))


def sharpness(gray: "Gray") -> float:
    """Return the variance of the image's Laplacian: low where it is blurred or empty."""
    if min(gray.shape) < 3:
        return 0.0
    g = gray.astype(np.int16)
    edges = g[1:-1, :-2] + g[1:-1, 2:] + g[:-2, 1:-1] + g[2:, 1:-1] - 4 * g[1:-1, 1:-1]
    return float(edges.var(dtype=np.float32))


def _gray(frame: "Frame") -> "Gray":
    red, green, blue = (frame[..., channel].astype(np.uint16) for channel in range(3))
    return ((red * 77 + green * 150 + blue * 29) >> 8).astype(np.uint8)


def _avatar(width: int, height: int, face: Square | None) -> Square:
    """Return the face and its surroundings within the image; the centre of the image without a face."""
    largest = min(width, height)
    if face is None:
        return Square((width - largest) // 2, (height - largest) // 2, largest)
    side = min(largest, round(face.side * _AVATAR_SCALE))

    def start(middle: float, length: int) -> int:
        return min(max(0, round(middle - side / 2)), length - side)

    return Square(start(face.left + face.side / 2, width), start(face.top + face.side / 2, height), side)
