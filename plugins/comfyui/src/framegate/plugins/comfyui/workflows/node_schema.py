"""What a ComfyUI server says about its nodes (``/object_info``)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from framegate.plugins.comfyui.json_access import is_array, is_number, items, table

MediaUpload: TypeAlias = Literal["image", "video", "audio", "file"]
_UPLOADS: Mapping[str, MediaUpload] = {
    "image_upload": "image",
    "video_upload": "video",
    "audio_upload": "audio",
    "file_upload": "file",
}


class InputSchema(Struct, frozen=True):
    """One input. ``options`` are the choices of a list; ``upload`` tells what a file for it has to be."""

    type: str
    required: bool
    options: tuple[Any, ...] | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    upload: MediaUpload | None = None


class NodeSchema(Struct, frozen=True):
    inputs: Mapping[str, InputSchema]
    is_output: bool = False


def read_schema(body: Any) -> dict[str, NodeSchema]:
    """The nodes in an answer of ``/object_info``; what can't be understood is left out."""
    return {name: _node(info) for name, info in table(body).items() if isinstance(info, dict)}


def _node(info: Any) -> NodeSchema:
    groups = table(table(info).get("input"))
    inputs = {
        name: _input(spec, required=group == "required")
        for group in ("required", "optional")
        for name, spec in table(groups.get(group)).items()
        if items(spec)
    }
    return NodeSchema(inputs, bool(table(info).get("output_node")))


def _input(spec: Sequence[Any], *, required: bool) -> InputSchema:
    """``["INT", {…}]``, or a list: ``[["a", "b"], {…}]`` in older nodes, ``["COMBO", {"options": […]}]``."""
    kind, details = spec[0], table(spec[1] if len(spec) > 1 else None)
    choices = kind if is_array(kind) else details.get("options")
    return InputSchema(
        type="COMBO" if is_array(kind) else str(kind),
        required=required,
        options=tuple(choices) if is_array(choices) else None,
        min=_number(details.get("min")),
        max=_number(details.get("max")),
        step=_number(details.get("step")),
        upload=next((kind for flag, kind in _UPLOADS.items() if details.get(flag) is True), None),
    )


def _number(value: Any) -> float | None:
    return value if is_number(value) else None
