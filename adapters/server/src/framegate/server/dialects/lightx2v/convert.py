"""Between lightx2v's wire and the core. Pure."""

import math
import posixpath
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias

from msgspec import UnsetType

from framegate.core.jobs import LOOKUP_LABEL
from framegate.core.ports import MediaSource
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.lightx2v.schemas import (
    CommonFields,
    FormFields,
    ImageFields,
    ImageForm,
    VideoFields,
    VideoForm,
)
from framegate.server.errors.field_errors import FieldError, shortened

RESULT_NAME = LOOKUP_LABEL
VOCABULARY = "vocabulary"

Setting: TypeAlias = Literal["auto", "document", "server"]


class Vocabulary(StrEnum):
    DOCUMENT = "document"
    SERVER = "server"


def vocabulary_of(setting: Setting, *, server_path: bool) -> Vocabulary:
    """``server_path``: the request came by a path that only the real server has."""
    if setting == "auto":
        return Vocabulary.SERVER if server_path else Vocabulary.DOCUMENT
    return Vocabulary(setting)


# What holds where a request says nothing. The document's length and steps (5 s at 16 fps, 4 steps) are the
# catalogue's defaults; its size holds for input pictures of any ratio, the real server's adapts.
_DOCUMENT_SIZE = 832, 480
_SERVER_FRAMES = 81
_SERVER_FPS = 16.0

# Fields for which no served model has a use, with what clients send when they don't mean them.
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
    """What a field's own type can't say: fields without a use, and fields that don't go together."""
    for unused, harmless in _UNUSED.items():
        if unused in values and values[unused] not in harmless:
            message = f"No served model can honour this field; leave it at {harmless[0]!r}"
            yield FieldError((unused,), "unsupported_parameter", message, shortened(values[unused]))
    if values.get("target_shape") and len(values["target_shape"]) != 2:
        yield FieldError(("target_shape",), "too_short", "Give [height, width]", values["target_shape"])
    if values.get("video_path") and values.get("image_path"):
        yield FieldError(("video_path",), "value_error", "Give either image_path or video_path")
    if values.get("last_frame_path") and not values.get("image_path"):
        yield FieldError(("last_frame_path",), "value_error", "A last frame needs an image_path as well")
    if values.get("i2i_denoise_strength") is not None and not values.get("image_path"):
        yield FieldError(("i2i_denoise_strength",), "value_error", "This needs an image_path")
    if name := values.get("save_result_path"):
        try:
            result_name(name, MediaKind.VIDEO)
        except ValueError as error:
            yield FieldError(("save_result_path",), "value_error", str(error), shortened(name))


def result_name(wanted: str, kind: MediaKind) -> str:
    """The name under which a result is found again: relative, normalised, with the suffix of its kind.

    Raises:
        ValueError: it leads out of the output folder, or is no name.
    """
    if not wanted.isprintable() or "\\" in wanted or "%" in wanted:
        raise ValueError("A result's name should have no control characters, backslashes or percent signs")
    if wanted.startswith(("/", "~")) or ":" in wanted.split("/", 1)[0] or ".." in wanted.split("/"):
        raise ValueError("A result's name should be relative and stay in the output folder")
    name = posixpath.normpath(wanted)
    if name == ".":
        raise ValueError("A result's name should name a file")
    suffix = suffix_of(kind)
    return name if name.lower().endswith(suffix) else name + suffix


def suffix_of(kind: MediaKind) -> str:
    return ".mp4" if kind == MediaKind.VIDEO else ".png"


def folder_of(kind: MediaKind) -> str:
    return "outputs/videos" if kind == MediaKind.VIDEO else "outputs/images"


def video_request(
    model: str, fields: VideoFields | VideoForm, vocabulary: Vocabulary, task: Task
) -> GenerationRequest[MediaSource]:
    """The video that is asked for; its media are not in it yet."""
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
    """Width and height: ``target_shape`` first, then ``width`` and ``height``, then the ratio at the
    default's area. The default ratio says nothing: the model's own size or an input picture's ratio holds."""
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


class Forbidden(Exception):
    """A download path that leads out of the output folder."""


_ESCAPES = re.compile(r"[\\%\x00-\x1f\x7f]")


def download_names(path: str, output_root: str) -> list[str]:
    """The result names that a download path may mean, likeliest first. ``path`` is the decoded rest of the
    URL; ``output_root`` the absolute path under which clients may know the output folder. No file is
    looked up by it.

    Raises:
        Forbidden: it has parts that lead elsewhere.
    """
    if _ESCAPES.search(path) or ".." in path.split("/"):
        raise Forbidden
    name = posixpath.normpath("/" + path.lstrip("/")).lstrip("/")
    inside = name.removeprefix(f"{output_root.strip('/')}/")
    if inside != name:
        name = f"outputs/{inside}"
    folders = (f"{folder_of(kind)}/" for kind in MediaKind)
    return [name, *(name.removeprefix(folder) for folder in folders if name.startswith(folder))]


def named_job(name: str) -> str | None:
    """The id in a default name ("ID.mp4")."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (".mp4", ".png") and "/" not in name else None
