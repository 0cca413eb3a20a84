"""What a ComfyUI server says about its nodes (``/object_info``)."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct

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
    if not isinstance(body, dict):
        return {}
    classes: dict[str, Any] = body
    return {name: _node(info) for name, info in classes.items() if isinstance(info, dict)}


def _node(info: Mapping[str, Any]) -> NodeSchema:
    inputs: dict[str, InputSchema] = {}
    groups = info.get("input")
    if isinstance(groups, dict):
        for group, required in (("required", True), ("optional", False)):
            declared = groups.get(group)
            if isinstance(declared, dict):
                for name, spec in declared.items():
                    if isinstance(spec, list | tuple) and spec:
                        inputs[name] = _input(spec, required=required)
    return NodeSchema(inputs, bool(info.get("output_node")))


def _input(spec: Any, *, required: bool) -> InputSchema:
    """``["INT", {…}]``, ``[["a", "b"], {…}]`` as older nodes write a list, or ``["COMBO", {"options": […]}]``."""
    kind = spec[0]
    details: Mapping[str, Any] = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    choices = kind if isinstance(kind, list) else details.get("options")
    return InputSchema(
        type="COMBO" if isinstance(kind, list) else str(kind),
        required=required,
        options=tuple(choices) if isinstance(choices, list) else None,
        min=_number(details.get("min")),
        max=_number(details.get("max")),
        step=_number(details.get("step")),
        upload=next((kind for flag, kind in _UPLOADS.items() if details.get(flag) is True), None),
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
