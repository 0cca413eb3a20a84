"""Perform the tasks of decoder processes, with Pillow and PyAV."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

from PIL import Image

from framegate.core.types import Variant
from framegate.media.decoding.tasks import (
    DecodeImage,
    DecoderTask,
    ExtractFrame,
    MakeCollage,
    MakePortrait,
    MakeVariant,
    MediaInfo,
    NormalizeMask,
    ProbeVideo,
)
from framegate.media.images.collage import make_collage
from framegate.media.images.decode import PngImage, decode_image
from framegate.media.images.masks import normalize_mask
from framegate.media.images.reencode import Format, reencode
from framegate.media.portraits import make_portrait
from framegate.media.video.encode import encode_png
from framegate.media.video.frames import frame_at
from framegate.media.video.probe import probe_video
from framegate.media.video.thumbnails import make_spritesheet, make_thumbnail

_FORMATS: Mapping[Variant, Format] = {Variant.PNG: "png", Variant.JPEG: "jpeg", Variant.WEBP: "webp"}
_OF_VIDEOS: Mapping[Variant, Callable[[Path, Path], None]] = {
    Variant.THUMBNAIL: make_thumbnail,
    Variant.SPRITESHEET: make_spritesheet,
}


def perform(task: DecoderTask) -> MediaInfo:
    """Perform a task, and describe what it wrote.

    Raises:
        InvalidMedia: The media can't be decoded, or exceed a limit.
        MemoryError: That takes more memory than the process has.
    """
    match task:
        case DecodeImage():
            return _write(decode_image(task.source.read_bytes()), task.target)
        case NormalizeMask():
            mask = normalize_mask(
                task.source.read_bytes(), task.width, task.height, ignore_alpha=task.ignore_alpha
            )
            return _write(mask, task.target)
        case MakeCollage():
            return _make_collage(task)
        case ProbeVideo():
            info = probe_video(task.source)
            return MediaInfo(info.width, info.height, info.num_frames, info.fps)
        case ExtractFrame():
            frame = frame_at(task.source, task.seconds)
            encode_png(frame, task.target)
            return MediaInfo(frame.shape[1], frame.shape[0])
        case MakePortrait():
            return _make_portrait(task)
        case MakeVariant():
            return _make_variant(task)
        case _:
            assert_never(task)


def _write(image: PngImage, target: Path) -> MediaInfo:
    target.write_bytes(image.data)
    return MediaInfo(image.width, image.height)


def _make_collage(task: MakeCollage) -> MediaInfo:
    images = [source.read_bytes() for source in task.sources]
    collage = make_collage(images, task.mask.read_bytes() if task.mask else None)
    if collage.mask:
        _write(collage.mask, task.mask_target)
    return _write(collage.image, task.target)


def _make_portrait(task: MakePortrait) -> MediaInfo:
    files = make_portrait(task.source, task.folder, start=task.start, end=task.end, length=task.length)
    return MediaInfo(files.width, files.height)


def _make_variant(task: MakeVariant) -> MediaInfo:
    if make := _OF_VIDEOS.get(task.variant):
        make(task.source, task.target)
    else:
        task.target.write_bytes(reencode(task.source, _FORMATS[task.variant], task.quality))
    with Image.open(task.target) as image:
        return MediaInfo(image.width, image.height)
