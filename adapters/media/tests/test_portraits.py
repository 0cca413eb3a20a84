"""Whom a part of a video shows."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from framegate.core.errors import InvalidMedia
from framegate.media.faces import find_face, sharpness
from framegate.media.portraits import AVATAR_SIDE, PortraitFiles, make_portrait

Frames = list[np.typing.NDArray[np.uint8]]
MakeClip = Callable[..., Path]

WIDTH, HEIGHT, FPS = 480, 320, 10.0
FACE_AT = 300, 60
"""Where the astronaut's picture lies: 200 pixels wide, her face in its middle."""


def scene(
    *, person: Image.Image | None = None, blur: float = 0.0, shift: int = 0
) -> np.typing.NDArray[np.uint8]:
    """Stripes, and perhaps somebody in front of them."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    stripes = 128 + 60 * np.sin((x + shift) / 9) * np.cos(y / 14)
    canvas = Image.fromarray(np.repeat(stripes.astype(np.uint8)[..., None], 3, axis=2))
    if person is not None:
        canvas.paste(person, (FACE_AT[0] - 100 + shift, FACE_AT[1]))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(blur)) if blur else canvas)


@pytest.fixture
def portrait(make_clip: MakeClip, tmp_path: Path) -> Callable[..., PortraitFiles]:
    def make(frames: Frames, start: float, end: float) -> PortraitFiles:
        path = make_clip("clip.mp4", frames, fps=FPS)
        return make_portrait(path, tmp_path, start=start, end=end, length=len(frames) / FPS)

    return make


def test_the_face_in_the_given_seconds(
    portrait: Callable[..., PortraitFiles], astronaut: Image.Image
) -> None:
    """Somebody comes into the picture, out of focus at first."""
    frames = [scene(shift=n) for n in range(10)]
    frames += [scene(person=astronaut, blur=2.5, shift=n) for n in range(10)]
    frames += [scene(person=astronaut, shift=n) for n in range(10)]
    made = portrait(frames, 0.0, 3.0)
    assert (made.width, made.height) == (WIDTH, HEIGHT)
    with Image.open(made.reference) as reference, Image.open(made.avatar) as avatar:
        assert (reference.format, reference.size) == ("PNG", (WIDTH, HEIGHT))
        assert (avatar.format, avatar.width) == ("PNG", avatar.height)
        shown = np.asarray(reference.convert("RGB"))
        face = find_face(np.asarray(avatar.convert("L")))
    sharp, blurred = (
        min(np.abs(shown.astype(int) - f).mean() for f in part) for part in (frames[20:], frames[10:20])
    )
    assert sharp < blurred / 2, "the sharp ones are the better ones"
    assert face is not None
    assert face.side > avatar.width / 3, "the avatar is of the face"


def test_without_opencv_the_sharpest_frame_is_taken(
    portrait: Callable[..., PortraitFiles], astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sharpest frame shows nobody; with OpenCV the face wins although it is out of focus."""
    frames = [scene(person=astronaut, blur=1.2, shift=n) for n in range(5)]
    crisp = scene().copy()
    crisp[::3] = 255
    frames += [crisp] * 5

    def shows_a_face(made: PortraitFiles) -> bool:
        with Image.open(made.reference) as reference:
            shown = np.asarray(reference.convert("RGB")).astype(int)
        return bool(min(np.abs(shown - frame).mean() for frame in frames[:5]) < np.abs(shown - crisp).mean())

    assert shows_a_face(portrait(frames, 0.0, 1.0))
    monkeypatch.setitem(sys.modules, "cv2", None)  # as if it were not installed
    made = portrait(frames, 0.0, 1.0)
    assert not shows_a_face(made)
    with Image.open(made.avatar) as avatar:
        assert avatar.size == (HEIGHT, HEIGHT), "the middle of the frame"


def test_only_the_given_seconds_are_looked_at(
    portrait: Callable[..., PortraitFiles], astronaut: Image.Image
) -> None:
    frames = [scene(person=astronaut, shift=n) for n in range(10)]
    frames += [scene(blur=3, shift=n) for n in range(10)]
    frames += [scene(shift=n) for n in range(5)]
    made = portrait(frames, 1.2, 2.5)
    with Image.open(made.reference) as reference, Image.open(made.avatar) as avatar:
        shown = np.asarray(reference.convert("RGB"))
        assert avatar.size == (HEIGHT, HEIGHT), "nobody: the middle of the sharpest frame"
    assert find_face(shown[..., 1]) is None
    assert sharpness(shown[..., 1]) > 5 * sharpness(frames[15][..., 1])


def test_one_moment_is_enough(portrait: Callable[..., PortraitFiles], astronaut: Image.Image) -> None:
    frames = [scene(), scene(person=astronaut), scene()]
    made = portrait(frames, 0.15, 0.15)
    with Image.open(made.reference) as reference:
        assert find_face(np.asarray(reference.convert("L"))) is not None


def test_an_end_beyond_the_video_is_its_end(portrait: Callable[..., PortraitFiles]) -> None:
    assert portrait([scene(shift=n) for n in range(8)], 0.0, 3.0).width == WIDTH


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0.8, 3.0),
        (5.0, 6.0),
        (-1.0, 0.5),
        (0.5, 0.2),
        (float("nan"), 1.0),
        (0.0, float("nan")),
        (0.0, float("inf")),
    ],
)
def test_seconds_that_the_video_does_not_have(
    portrait: Callable[..., PortraitFiles], start: float, end: float
) -> None:
    with pytest.raises(InvalidMedia, match=r"lie outside the video, which is 0\.80 s long") as caught:
        portrait([scene(shift=n) for n in range(8)], start, end)
    assert caught.value.param == "timestamps"


def test_a_large_picture_gets_a_small_avatar(make_clip: MakeClip, tmp_path: Path) -> None:
    large = np.zeros((1080, 1920, 3), np.uint8)
    large[::3] = 200
    path = make_clip("large.mp4", [large, large], fps=2.0)
    made = make_portrait(path, tmp_path, start=0, end=1, length=1.0)
    with Image.open(made.avatar) as avatar:
        assert avatar.size == (AVATAR_SIDE, AVATAR_SIDE)
