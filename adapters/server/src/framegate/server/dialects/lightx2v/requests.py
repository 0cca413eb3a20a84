"""Turn lightx2v's bodies into generation requests. Pure."""

from typing import Any

from msgspec import UnsetType

from framegate.core.ports import MediaSource
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.lightx2v.aspect_ratios import parse_aspect_ratio, sides
from framegate.server.dialects.lightx2v.fields import CommonFields, ImageFields, VideoFields
from framegate.server.dialects.lightx2v.vocabulary import Vocabulary

# Default values for fields that a request omits. The document's length and steps (5 s at 16 fps, 4 steps) are
# the catalogue's. Its size applies to input images of any ratio; the real server's adapts to the image.
_DOCUMENT_SIZE = 832, 480
_SERVER_FRAMES = 81
_SERVER_FPS = 16.0
_AREAS = {MediaKind.VIDEO: 832 * 480, MediaKind.IMAGE: 1664 * 928}

_SEEDS = 2**63
"""Seeds are below it."""


def video_request(
    model: str, fields: VideoFields, vocabulary: Vocabulary, task: Task
) -> GenerationRequest[MediaSource]:
    """Return the request for a video, without media."""
    frames: int | None = given(fields.target_video_length)
    fps: float | None = given(fields.target_fps)
    length_is_open = frames is None and fields.video_duration is None
    if vocabulary == Vocabulary.SERVER and length_is_open and task != Task.VIDEO_TO_VIDEO:
        frames, fps = _SERVER_FRAMES, fps or _SERVER_FPS
    width, height = _size(fields, MediaKind.VIDEO)
    if vocabulary == Vocabulary.DOCUMENT:
        width, height = width or _DOCUMENT_SIZE[0], height or _DOCUMENT_SIZE[1]
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        width=width,
        height=height,
        num_frames=frames,
        duration=None if frames is not None else fields.video_duration,
        fps=fps,
        num_inference_steps=fields.infer_steps,
        seed=used_seed(fields.seed),
        num_fragments=fields.num_fragments,
    )


def image_request(model: str, fields: ImageFields, task: Task) -> GenerationRequest[MediaSource]:
    """Return the request for an image, without media."""
    width, height = _size(fields, MediaKind.IMAGE)
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        width=width,
        height=height,
        num_inference_steps=fields.infer_steps,
        strength=given(fields.i2i_denoise_strength),
        seed=used_seed(fields.seed),
    )


def used_seed(seed: int | None) -> int | None:
    """Return the seed that stands for a client's: the real server takes any integer."""
    return None if seed is None else seed % _SEEDS


def given(value: Any) -> Any:
    """Return a field's value, or None if it is omitted."""
    return None if isinstance(value, UnsetType) else value


def _size(fields: CommonFields, kind: MediaKind) -> tuple[int | None, int | None]:
    """Return width and height.

    They come from ``target_shape``, else from ``width`` and ``height``, else from the ratio, at the default's
    area. Without any of them the model's own size or the ratio of an input image applies.
    """
    if shape := given(fields.target_shape):
        return shape[1], shape[0]
    if fields.width is not None or fields.height is not None:
        return fields.width, fields.height
    ratio = parse_aspect_ratio(given(fields.aspect_ratio) or "")
    return (None, None) if ratio is None else sides(_AREAS[kind], ratio)
