"""What a ComfyUI server declares about its node classes (``/object_info``)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from framegate.plugins.comfyui.json_access import is_array, is_number, items, table

MediaUpload: TypeAlias = Literal["image", "video", "audio", "file"]
_UPLOAD_FLAGS: Mapping[str, MediaUpload] = {
    "image_upload": "image",
    "video_upload": "video",
    "audio_upload": "audio",
    "file_upload": "file",
}


class InputSchema(Struct, frozen=True):
    """One input: ``options`` are a list's choices, ``upload`` is the kind of file that it takes."""

    type: str
    required: bool
    options: tuple[Any, ...] | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    upload: MediaUpload | None = None


class NodeSchema(Struct, frozen=True):
    """The inputs of a node class; ``is_output`` if its nodes give a graph its results."""

    inputs: Mapping[str, InputSchema]
    is_output: bool = False


def parse_object_info(body: Any) -> dict[str, NodeSchema]:
    """Parse a response of ``/object_info``, leaving out what can't be understood."""
    return {name: _parse_node(info) for name, info in table(body).items() if isinstance(info, dict)}


def _parse_node(info: Any) -> NodeSchema:
    groups = table(table(info).get("input"))
    inputs = {
        name: _parse_input(spec, required=group == "required")
        for group in ("required", "optional")
        for name, spec in table(groups.get(group)).items()
        if items(spec)
    }
    return NodeSchema(inputs, bool(table(info).get("output_node")))


def _parse_input(spec: Sequence[Any], *, required: bool) -> InputSchema:
    """Parse ``["INT", {…}]`` or a list.

    A list is ``[["a", "b"], {…}]`` in older nodes and ``["COMBO", {"options": […]}]`` in newer ones.
    """
    kind, details = spec[0], table(spec[1] if len(spec) > 1 else None)
    options = kind if is_array(kind) else details.get("options")
    return InputSchema(
        type="COMBO" if is_array(kind) else str(kind),
        required=required,
        options=tuple(options) if is_array(options) else None,
        min=_number(details.get("min")),
        max=_number(details.get("max")),
        step=_number(details.get("step")),
        upload=next((kind for flag, kind in _UPLOAD_FLAGS.items() if details.get(flag) is True), None),
    )


def _number(value: Any) -> float | None:
    return value if is_number(value) else None
