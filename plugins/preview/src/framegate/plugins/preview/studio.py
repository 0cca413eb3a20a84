"""From a shot to its frames: source, style and watermark, task by task."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot, Task
from framegate.media.images.fitting import open_image
from framegate.plugins.preview.lettering import Watermark
from framegate.plugins.preview.motion import Camera, Moment, ease
from framegate.plugins.preview.pixels import random_for
from framegate.plugins.preview.scenes import scene_for
from framegate.plugins.preview.source_video import resample_video
from framegate.plugins.preview.styles import STYLES, Look, Style, mood_for

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_STRENGTH = 0.6
_BLUR = 0.08
"""Of the first partial image, as a share of its shorter side."""


def frames_of(shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
    """Yield the shot's frames, each made when it is asked for."""
    watermark = Watermark(shot.width, shot.height)
    images = _video(shot, context, watermark) if shot.task.output == "video" else _images(shot, context)
    for index, image in enumerate(images):
        watermark.draw(image)
        context.report(index + 1, shot.num_frames, "Drawing frames")
        yield np.array(image, dtype=np.uint8)


def _look(shot: Shot, seed: int) -> Look:
    captioned = shot.task.startswith("text") or shot.continues or shot.style == "news"
    style, caption = STYLES.get(shot.style or "", Style()), shot.own_words if captioned else ""
    return Look(style, seed, (shot.width, shot.height), caption)


def _images(shot: Shot, context: GenerationContext) -> Iterator[Image.Image]:
    """Yield an image for each of the seeds that follow, after partial images that clear up step by step."""
    size, words, moment = (shot.width, shot.height), shot.own_words, Moment()
    source = open_image(context.image, *size) if shot.task == Task.IMAGE_TO_IMAGE else None
    for seed in range(shot.seed, shot.seed + shot.num_frames):
        look = _look(shot, seed)
        if source is None:
            image = look.apply_overlays(
                look.grade(scene_for(words, seed, size, seconds=5.0).draw(moment)), moment
            )
        else:
            image = look.apply_overlays(
                look.grade(Look(mood_for(words, seed), seed, size).grade(source)), moment
            )
            image = Image.blend(source, image, _STRENGTH if shot.strength is None else shot.strength)
        for number in range(context.num_partial_images):
            left = 1.0 - (number + 1) / (context.num_partial_images + 1)
            context.report_partial_image(partial(_blur, image, min(size) * _BLUR * left))
        yield image


def _blur(image: Image.Image, radius: float) -> "Frame":
    return np.array(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.uint8)


def _video(shot: Shot, context: GenerationContext, watermark: Watermark) -> Iterator[Image.Image]:
    """Yield new images of a video, complete but for the watermark."""
    look = _look(shot, shot.seed)
    view = _view(shot, context, look, watermark)
    for index in range(shot.num_frames):
        moment = Moment.of(index, shot.num_frames, shot.fps, continues=shot.continues)
        yield look.apply_overlays(view(moment), moment)


def _view(
    shot: Shot, context: GenerationContext, look: Look, watermark: Watermark
) -> Callable[[Moment], Image.Image]:
    """Return what shows the scene, image or video of a shot at one moment after the other."""
    words, seed, size = shot.own_words, shot.seed, (shot.width, shot.height)
    seconds = shot.num_frames / shot.fps
    if shot.task == Task.TEXT_TO_VIDEO:
        scene = scene_for(words, seed, size, seconds)
        return lambda moment: look.grade(scene.draw(moment))
    if shot.task == Task.VIDEO_TO_VIDEO:
        mood, strength = Look(mood_for(words, seed), seed, size), shot.strength
        strength = _STRENGTH if strength is None else strength
        images = resample_video(context.video, size, shot.num_frames, shot.fps)
        return lambda _: Image.blend(image := next(images), look.grade(mood.grade(image)), strength)

    # A shot that continues another starts from a frame with the style's colours and the watermark.
    start = open_image(context.image, *size)
    start = watermark.remove_from(start) if shot.continues else look.grade(start)
    camera = Camera(start, random_for("camera", words, seed), seconds)
    if context.last_image is None:
        return lambda moment: camera.view(moment.progress)
    end = look.grade(open_image(context.last_image, *size))
    return partial(_cross_dissolve, camera, Camera(end, random_for("arrival", words, seed), seconds))


def _cross_dissolve(camera: Camera, arrival: Camera, moment: Moment) -> Image.Image:
    """Return a view of one move that dissolves into another, which runs backwards to its whole image."""
    share = ease((moment.progress - 0.3) / 0.4)
    if share <= 0.0:
        return camera.view(moment.progress)
    end = arrival.view(1.0 - moment.progress)
    return end if share >= 1.0 else Image.blend(camera.view(moment.progress), end, share)
