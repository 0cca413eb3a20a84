"""Frames that show a face, or nothing."""

import numpy as np
import pytest
from PIL import Image

from framegate.media.faces import Square, best_view


def test_faces_at_the_edge_stay_within_the_picture(astronaut: Image.Image) -> None:
    picture = np.asarray(astronaut)
    view = best_view([picture[:, 40:]])
    assert view is not None
    assert view.face is not None
    for square in (view.face, view.avatar):
        assert isinstance(square, Square)
        assert min(square.left, square.top) >= 0
        assert square.crop(view.frame).shape[:2] == (square.side, square.side)


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (16, 16), (3000, 20)])
def test_any_size_can_be_looked_at(size: tuple[int, int]) -> None:
    view = best_view([np.zeros((*size, 3), np.uint8)])
    assert view is not None
    assert (view.face, view.avatar.side) == (None, min(size))


def test_no_frames_no_view() -> None:
    assert best_view([]) is None
