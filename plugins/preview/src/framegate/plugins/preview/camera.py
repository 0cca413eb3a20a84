"""A camera that moves into a still picture, with near things moving more than far ones."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from framegate.plugins.preview.motion import Floats, ease

_DEPTH_SIDE = 96
_CELL = 36
"""About how many pixels of the frame one cell of the bent grid covers."""


def guess_depth(picture: Image.Image) -> Floats:
    """How near each place is, 0…1: low things and what stands out from its surroundings are near."""
    small = picture.resize((_DEPTH_SIDE, _DEPTH_SIDE), Image.Resampling.BOX)
    colours = np.asarray(small, dtype=np.float32)
    surroundings = np.asarray(small.filter(ImageFilter.GaussianBlur(_DEPTH_SIDE / 4)), dtype=np.float32)
    standing_out = np.sqrt(((colours - surroundings) ** 2).sum(axis=-1))
    standing_out /= standing_out.max() + 1e-3
    brightness = colours.mean(axis=-1) / np.float32(255.0)
    lower = np.linspace(0.0, 1.0, _DEPTH_SIDE, dtype=np.float32)[:, None]
    rough = 0.5 * lower + 0.38 * standing_out + 0.12 * brightness
    smooth = Image.fromarray((np.clip(rough, 0.0, 1.0) * 255.0).astype(np.uint8))
    depth = np.asarray(smooth.filter(ImageFilter.GaussianBlur(_DEPTH_SIDE / 11)), dtype=np.float32)
    low, high = float(depth.min()), float(depth.max())
    return ((depth - low) / (high - low + 1e-3)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Move:
    """Where the camera goes: towards a point (fractions of the frame), so close, swaying to a side."""

    x: float
    y: float
    zoom: float
    sway_x: float
    sway_y: float


_PUSHES = ((0.5, 0.45), (0.35, 0.45), (0.65, 0.45), (0.12, 0.5), (0.88, 0.5), (0.5, 0.15), (0.5, 0.8))


def choose_move(rng: np.random.Generator, seconds: float) -> Move:
    """A move by chance; longer shots go further."""
    x, y = _PUSHES[int(rng.integers(0, len(_PUSHES)))]
    zoom = min(0.09 + 0.014 * seconds, 0.2) * float(rng.uniform(0.85, 1.15))
    side = 1.0 if rng.random() < 0.5 else -1.0
    return Move(x, y, zoom, side * float(rng.uniform(0.3, 0.95)), float(rng.uniform(-0.5, 0.5)))


class Camera:
    """Views of one picture between its whole self (progress 0) and the end of a move (progress 1).

    Every point comes from no nearer to the picture's edges than where it is shown. So nothing from
    outside is ever needed, and what lies along the edges (a caption bar of the shot before) leaves.
    """

    def __init__(self, picture: Image.Image, move: Move) -> None:
        self._picture = picture
        self._move = move
        width, height = picture.size
        columns = np.linspace(0, width, max(1, min(40, round(width / _CELL))) + 1).round()
        rows = np.linspace(0, height, max(1, min(40, round(height / _CELL))) + 1).round()
        self._x, self._y = (grid.astype(np.float32) for grid in np.meshgrid(columns, rows))
        depth = guess_depth(picture)
        at_rows = np.minimum(rows / height * _DEPTH_SIDE, _DEPTH_SIDE - 1).astype(np.int64)
        at_columns = np.minimum(columns / width * _DEPTH_SIDE, _DEPTH_SIDE - 1).astype(np.int64)
        self._depth = depth[at_rows[:, None], at_columns[None, :]]
        left, top = self._x[:-1, :-1].astype(int).ravel(), self._y[:-1, :-1].astype(int).ravel()
        right, bottom = self._x[1:, 1:].astype(int).ravel(), self._y[1:, 1:].astype(int).ravel()
        self._cells = list(zip(left.tolist(), top.tolist(), right.tolist(), bottom.tolist(), strict=True))

    def view(self, progress: float) -> Image.Image:
        """The picture seen at ``progress`` (0…1) of the move, which starts and ends at rest."""
        way = ease(progress)
        if way <= 0.0:
            return self._picture
        width, height = self._picture.size
        move = self._move
        share = 1.0 - 1.0 / (1.0 + move.zoom * way * (0.55 + 0.9 * self._depth))
        least = 1.0 - 1.0 / (1.0 + move.zoom * way * 0.55)
        off_centre = self._depth - np.float32(0.5)
        room_x = least * width * min(move.x, 1.0 - move.x)
        room_y = least * height * min(move.y, 1.0 - move.y)
        x = self._x + (move.x * width - self._x) * share + off_centre * np.float32(room_x * move.sway_x)
        y = self._y + (move.y * height - self._y) * share + off_centre * np.float32(room_y * move.sway_y)
        x, y = np.clip(x, 0.0, width), np.clip(y, 0.0, height)
        corners = np.stack(
            [x[:-1, :-1], y[:-1, :-1], x[1:, :-1], y[1:, :-1], x[1:, 1:], y[1:, 1:], x[:-1, 1:], y[:-1, 1:]],
            axis=-1,
        )
        quads: list[list[float]] = corners.reshape(-1, 8).tolist()
        mesh = list(zip(self._cells, quads, strict=True))
        return self._picture.transform(
            (width, height), Image.Transform.MESH, mesh, resample=Image.Resampling.BILINEAR
        )
