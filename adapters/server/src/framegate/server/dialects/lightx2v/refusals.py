"""The rules for submissions that types can't express: what no model can honour, and conflicts. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from msgspec import UNSET, Struct

from framegate.core.types import MediaKind
from framegate.server.dialects.lightx2v.aspect_ratios import parse_aspect_ratio
from framegate.server.dialects.lightx2v.result_names import result_name
from framegate.server.dialects.lightx2v.task_ids import check_task_id
from framegate.server.errors.field_errors import FieldError, shortened

_LORAS = (
    "{model} takes no LoRA by request. A model of the backends diffusers, wan21, wan22 and ltx2 has LoRAs by "
    'its config, as in `[models.wan22] options = {{ loras = [{{ source = "…", strength = 1.0 }}] }}`; '
    "`[dialects.lightx2v]` says which model is used"
)
_AUDIO = (
    "{model} takes no input audio, nor does any backend of this server; models such as LTX-2 make a video's "
    "audio from the prompt"
)
_ROLES = "{model} is run whole by one worker, without the roles of a disaggregated server; omit this field"
_ENHANCER = "{model} has no prompt enhancer, nor has any backend of this server; send the enhanced prompt"
_REUSE = "{model} keeps no earlier request to reuse; send its fields again, with its seed for the same result"
_UPSCALING = (
    "{model} has no super-resolution by a ratio. Give the size as target_shape; a ComfyUI workflow that "
    "upscales can be a model of this server"
)
_RESIZING = (
    "{model} has no modes of resizing. Without a size, the input image's aspect ratio is kept; target_shape "
    "sets another one"
)
_IMAGES_ONLY = "{model} makes videos; this field is for images, at /v1/tasks/image/"
_UPLOAD = "Only POST /v1/tasks/image/sync uploads its result; fetch this one from /v1/tasks/TASK_ID/result"

_UNUSED: Mapping[str, tuple[object, str]] = {
    "use_prompt_enhancer": (False, _ENHANCER),
    "reuse": (False, _REUSE),
    "lora_name": (None, _LORAS),
    "lora_strength": (1.0, _LORAS),
    "data_bootstrap_room": (None, _ROLES),
    "disagg_phase1_receiver_engine_rank": (None, _ROLES),
    "disagg_bootstrap_room": (None, _ROLES),
    "disagg_decoder_bootstrap_room": (None, _ROLES),
    "sr_ratio": (2.0, _UPSCALING),
    "audio_path": (None, _AUDIO),
    "talk_objects": ("[]", _AUDIO),  # an empty list in a form
    "resize_mode": ("adaptive", _RESIZING),
}
"""Fields that no served model can honour, with the original's default and what to say about other values."""


class SubmissionRules(Struct, frozen=True):
    """The rules for one route. ``model`` is its model, as messages name it."""

    model: str
    kind: MediaKind
    uploads: bool = False

    def __call__(self, values: Mapping[str, Any]) -> Iterable[FieldError]:
        """Yield the errors of a body's values."""
        for name, (default, message) in _UNUSED.items():
            if not _is_default(values.get(name), default):
                yield self.unsupported(name, message, values[name])
        if self.kind == MediaKind.VIDEO:
            for name in ("image_mask_path", "i2i_denoise_strength"):
                if not _is_default(values.get(name), None):
                    yield self.unsupported(name, _IMAGES_ONLY, values[name])
        if not self.uploads and not _is_default(values.get("presigned_url"), None):
            yield self.unsupported("presigned_url", _UPLOAD)
        yield from _malformed(values, self.kind)

    def unsupported(self, name: str, message: str, value: object = UNSET) -> FieldError:
        """Return the error for a field that the model can't honour."""
        text = message.format(model=f"The model {self.model}")
        return FieldError(
            (name,), "unsupported_parameter", text, value if value is UNSET else shortened(value)
        )

    def audio_file(self) -> FieldError:
        """Return the error for an audio file in a form."""
        return self.unsupported("audio_file", _AUDIO)


def conflicts(values: Mapping[str, Any], media: Collection[str]) -> Iterable[FieldError]:
    """Yield the errors of fields that need, or exclude, one of the ``media`` that are given."""
    if "image" in media and "video" in media:
        yield FieldError(("video_path",), "value_error", "Give either an image or a video")
    if "image" in media:
        return
    for name in ("last_frame_path", "image_mask_path", "i2i_denoise_strength"):
        if not _is_default(values.get(name), None):
            yield FieldError(
                (name,), "value_error", "This field requires image_path", shortened(values[name])
            )


def _is_default(value: object, default: object) -> bool:
    """Return whether a field is omitted, empty, or as clients send it without meaning it."""
    if isinstance(value, str):
        value = value.strip()
    return value is UNSET or value in (None, "", []) or value == default


def _malformed(values: Mapping[str, Any], kind: MediaKind) -> Iterable[FieldError]:
    shape = values.get("target_shape")
    if shape and len(shape) != 2:
        yield FieldError(("target_shape",), "too_short", "Give [height, width]", shape)
    checks: Mapping[str, Callable[[str], object]] = {
        "aspect_ratio": parse_aspect_ratio,
        "task_id": check_task_id,
        "save_result_path": lambda name: result_name(name, kind),
    }
    for field, check in checks.items():
        if value := values.get(field):
            try:
                check(value)
            except ValueError as error:
                yield FieldError((field,), "value_error", str(error), shortened(value))
