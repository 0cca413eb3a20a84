"""From a shot to its frames: source, style, caption and mark, task by task."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot, Task
from framegate.plugins.preview.camera import Camera, choose_move
from framegate.plugins.preview.caption import Caption
from framegate.plugins.preview.grading import mood_of
from framegate.plugins.preview.mark import Mark
from framegate.plugins.preview.motion import Moment, ease, moment, still
from framegate.plugins.preview.scene import scene_for
from framegate.plugins.preview.seeding import random_for
from framegate.plugins.preview.source import open_picture, resampled
from framegate.plugins.preview.styles import Style, Subject, style_for

if TYPE_CHECKING:
    from framegate.core.backend import Frame

DEFAULT_STRENGTH = 0.6
_BLUR = 0.08
"""Of a picture that is not begun, as a share of its shorter side."""

View = tuple[Image.Image, Moment]


def frames_of(shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
    """The shot's frames, made one at a time as they are asked for."""
    mark = Mark(shot.width, shot.height)
    for index, picture in enumerate(_finished(shot, context, mark)):
        canvas = picture.copy()
        mark.draw(canvas)
        context.report(index + 1, shot.num_frames, "Drawing frames")
        yield np.array(canvas, dtype=np.uint8)


def _finished(shot: Shot, context: GenerationContext, mark: Mark) -> Iterator[Image.Image]:
    """Everything but the mark."""
    match shot.task:
        case Task.TEXT_TO_IMAGE:
            for number in range(shot.num_frames):
                yield _shown(_drawn_picture(shot, shot.seed + number), context)
        case Task.IMAGE_TO_IMAGE:
            picture = open_picture(context.image, shot.width, shot.height)
            for number in range(shot.num_frames):
                yield _shown(_redone(shot, picture, shot.seed + number), context)
        case Task.TEXT_TO_VIDEO:
            yield from _dressed(shot, _scenery(shot), captioned=True)
        case Task.IMAGE_TO_VIDEO:
            yield from _dressed(shot, _camera_views(shot, context, mark), captioned=shot.continues)
        case Task.VIDEO_TO_VIDEO:
            yield from _dressed(shot, _regraded(shot, context), captioned=False)


def _shown(picture: Image.Image, context: GenerationContext) -> Image.Image:
    """The picture, after looks at how it clears up, as a model's would step by step."""
    for look in range(context.num_partial_images):
        left = 1 - (look + 1) / (context.num_partial_images + 1)
        context.report_partial_image(partial(_blurred, picture, min(picture.size) * _BLUR * left))
    return picture


def _blurred(picture: Image.Image, radius: float) -> "Frame":
    return np.array(picture.filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)


def _style(shot: Shot, seed: int) -> Style:
    return style_for(shot.style, Subject(shot.width, shot.height, shot.own_words, seed))


def _moments(shot: Shot) -> Iterator[Moment]:
    for index in range(shot.num_frames):
        yield moment(index, shot.num_frames, shot.fps, from_nothing=shot.continues)


def _dressed(shot: Shot, views: Iterator[View], *, captioned: bool) -> Iterator[Image.Image]:
    style = _style(shot, shot.seed)
    caption = Caption(shot.own_words if captioned and not style.shows_prompt else "", shot.width, shot.height)
    for picture, now in views:
        canvas = style.dress(picture, now).copy()
        caption.draw(canvas, now.presence)
        yield canvas


def _drawn_picture(shot: Shot, seed: int) -> Image.Image:
    now, style = still(), _style(shot, seed)
    scene = scene_for(shot.own_words, seed, shot.width, shot.height, duration=5.0)
    canvas = style.dress(style.grade(scene.draw(now)), now).copy()
    if not style.shows_prompt:
        Caption(shot.own_words, shot.width, shot.height).draw(canvas)
    return canvas


def _scenery(shot: Shot) -> Iterator[View]:
    style = _style(shot, shot.seed)
    scene = scene_for(
        shot.own_words, shot.seed, shot.width, shot.height, shot.num_frames / (shot.fps or 24.0)
    )
    for now in _moments(shot):
        yield style.grade(scene.draw(now)), now


def _redone(shot: Shot, picture: Image.Image, seed: int) -> Image.Image:
    style = _style(shot, seed)
    changed = style.dress(style.grade_still(mood_of(shot.own_words, seed)(picture)), still())
    return Image.blend(picture, changed, _strength(shot))


def _strength(shot: Shot) -> float:
    return DEFAULT_STRENGTH if shot.strength is None else shot.strength


def _camera_views(shot: Shot, context: GenerationContext, mark: Mark) -> Iterator[View]:
    """A move from the picture; where there is a last picture, a dissolve into a move that ends with it.

    A shot that continues another starts from a frame that already has the style's colours and the mark.
    """
    size = shot.width, shot.height
    style = _style(shot, shot.seed)
    start = open_picture(context.image, *size)
    start = mark.removed_from(start) if shot.continues else style.grade_still(start)
    seconds = shot.num_frames / (shot.fps or 24.0)
    camera = Camera(start, choose_move(random_for("camera", shot.own_words, shot.seed), seconds))
    arrival: Camera | None = None
    if context.last_image is not None:
        end = style.grade_still(open_picture(context.last_image, *size))
        arrival = Camera(end, choose_move(random_for("arrival", shot.own_words, shot.seed), seconds))
    for now in _moments(shot):
        if arrival is None:
            yield camera.view(now.progress), now
            continue
        share = ease((now.progress - 0.3) / 0.4)
        if share <= 0.0:
            yield camera.view(now.progress), now
        elif share >= 1.0:
            yield arrival.view(1.0 - now.progress), now
        else:
            both = camera.view(now.progress), arrival.view(1.0 - now.progress)
            yield Image.blend(*both, share), now


def _regraded(shot: Shot, context: GenerationContext) -> Iterator[View]:
    style = _style(shot, shot.seed)
    mood = mood_of(shot.own_words, shot.seed)
    strength = _strength(shot)
    pictures = resampled(context.video, shot.width, shot.height, shot.num_frames, shot.fps or 24.0)
    for picture, now in zip(pictures, _moments(shot), strict=True):
        yield Image.blend(picture, style.grade(mood(picture)), strength), now
