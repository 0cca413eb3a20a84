"""Turn lightx2v's bodies into generation requests. Pure."""

import math
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from msgspec import UnsetType

from framegate.core.ports import MediaSource
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.lightx2v.result_names import result_name
from framegate.server.dialects.lightx2v.schemas import (
    CommonFields,
    FormFields,
    ImageFields,
    ImageForm,
    VideoFields,
    VideoForm,
)
from framegate.server.errors.field_errors import FieldError, shortened

VOCABULARY = "vocabulary"

VocabularySetting: TypeAlias = Literal["auto", "document", "server"]


class Vocabulary(StrEnum):
    """The words for a task's states: the document's, or the real server's."""

    DOCUMENT = "document"
    SERVER = "server"


def vocabulary_of(setting: VocabularySetting, *, server_path: bool) -> Vocabulary:
    """Return the vocabulary of a task.

    ``server_path`` tells whether the request came by a path that only the real server has.
    """
    if setting == "auto":
        return Vocabulary.SERVER if server_path else Vocabulary.DOCUMENT
    return Vocabulary(setting)


# Default values for fields that a request omits. The document's length and steps (5 s at 16 fps, 4 steps) are
# the catalogue's. Its size applies to input images of any ratio; the real server's adapts to the image.
_DOCUMENT_SIZE = 832, 480
_SERVER_FRAMES = 81
_SERVER_FPS = 16.0

# Fields that no served model can honour, with the values that clients send by default.
_UNUSED: Mapping[str, tuple[object, ...]] = {
    "use_prompt_enhancer": (False,),
    "image_mask_path": ("", None),
    "presigned_url": ("", None),
    "reuse": (False,),
    "lora_name": ("", None),
    "lora_strength": (1.0,),
    "data_bootstrap_room": (None,),
    "disagg_phase1_receiver_engine_rank": (None,),
    "disagg_bootstrap_room": (None,),
    "disagg_decoder_bootstrap_room": (None,),
    "sr_ratio": (2.0,),
    "audio_path": ("", None),
    "talk_objects": (None, []),
    "resize_mode": ("adaptive", None),
}


def refused(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield errors that the types can't express: conflicting fields, and those that no model can honour."""
    for unused, harmless in _UNUSED.items():
        if unused in values and values[unused] not in harmless:
            message = f"No served model can honour this field; leave it at {harmless[0]!r}"
            yield FieldError((unused,), "unsupported_parameter", message, shortened(values[unused]))
    if values.get("target_shape") and len(values["target_shape"]) != 2:
        yield FieldError(("target_shape",), "too_short", "Give [height, width]", values["target_shape"])
    if values.get("video_path") and values.get("image_path"):
        yield FieldError(("video_path",), "value_error", "Give either image_path or video_path")
    if values.get("last_frame_path") and not values.get("image_path"):
        yield FieldError(("last_frame_path",), "value_error", "This field also requires image_path")
    if values.get("i2i_denoise_strength") is not None and not values.get("image_path"):
        yield FieldError(("i2i_denoise_strength",), "value_error", "This field requires image_path")
    if name := values.get("save_result_path"):
        try:
            result_name(name, MediaKind.VIDEO)
        except ValueError as error:
            yield FieldError(("save_result_path",), "value_error", str(error), shortened(name))


def video_request(
    model: str, fields: VideoFields | VideoForm, vocabulary: Vocabulary, task: Task
) -> GenerationRequest[MediaSource]:
    """Return the request for a video, without media."""
    frames = _set(fields.target_video_length)
    duration = _set(fields.video_duration)
    fps = _set(fields.target_fps)
    if (
        vocabulary == Vocabulary.SERVER
        and frames is None
        and duration is None
        and task != Task.VIDEO_TO_VIDEO
    ):
        frames, fps = _SERVER_FRAMES, fps or _SERVER_FPS
    width, height = _size(fields)
    if vocabulary == Vocabulary.DOCUMENT:
        width, height = width or _DOCUMENT_SIZE[0], height or _DOCUMENT_SIZE[1]
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt or "",
        width=width,
        height=height,
        num_frames=frames,
        duration=None if frames is not None else duration,
        fps=fps,
        num_inference_steps=_set(fields.infer_steps),
        seed=fields.seed,
        num_fragments=fields.num_fragments,
    )


def image_request(model: str, fields: ImageFields | ImageForm, task: Task) -> GenerationRequest[MediaSource]:
    """Return the request for an image, without media."""
    width, height = _size(fields)
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt or "",
        width=width,
        height=height,
        num_inference_steps=_set(fields.infer_steps),
        strength=fields.i2i_denoise_strength if isinstance(fields, ImageFields) else None,
        seed=fields.seed,
    )


def _set(value: Any) -> Any:
    return None if isinstance(value, UnsetType) else value


_VIDEO_AREA = 832 * 480
_IMAGE_AREA = 1664 * 928


def _size(fields: CommonFields | FormFields) -> tuple[int | None, int | None]:
    """Return width and height.

    They come from ``target_shape``, else from ``width`` and ``height``, else from the ratio, at the default's
    area. The default ratio sets no size: the model's own or the ratio of an input image applies instead.
    """
    shape: list[int] | None = getattr(fields, "target_shape", None)
    if shape:
        return shape[1], shape[0]
    if fields.width is not None or fields.height is not None:
        return fields.width, fields.height
    ratio = getattr(fields, "aspect_ratio", "16:9")
    if ratio == "16:9":
        return None, None
    across, down = (int(part) for part in ratio.split(":"))
    area = _IMAGE_AREA if isinstance(fields, ImageFields | ImageForm) else _VIDEO_AREA
    return _side(area * across / down), _side(area * down / across)


def _side(area: float) -> int:
    return max(32, min(4096, round(math.sqrt(area) / 16) * 16))
