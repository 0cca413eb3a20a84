"""What of a shot goes into a graph."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framegate.core.backend import GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import MediaKind, Shot
from framegate.plugins.comfyui.workflows.bindings import Parameter
from framegate.plugins.comfyui.workflows.graph import Graph
from framegate.plugins.comfyui.workflows.node_schema import InputSchema, NodeSchema
from framegate.plugins.comfyui.workflows.vocabulary import MEDIA, Key
from framegate.plugins.comfyui.workflows.workflow import Workflow


def shot_values(shot: Shot) -> dict[Key, Any]:
    """What ``shot`` says; keys of which it says nothing are left out."""
    values: dict[Key, Any] = {
        Key.TEXT: shot.prompt,
        Key.NEGATIVE_TEXT: shot.negative_prompt,
        Key.WIDTH: shot.width,
        Key.HEIGHT: shot.height,
        Key.STEPS: shot.num_inference_steps,
        Key.CFG: shot.guidance_scale,
        Key.SEED: shot.seed,
    }
    if shot.strength is not None:
        values[Key.STRENGTH] = shot.strength
    if shot.task.output == MediaKind.VIDEO:
        values[Key.NUM_FRAMES] = shot.num_frames
        values[Key.FPS] = shot.fps
        values[Key.DURATION] = shot.num_frames / shot.fps
    else:
        values[Key.NUM_OUTPUTS] = shot.num_frames
    return values


def media_files(workflow: Workflow, context: GenerationContext) -> dict[Key, Path | None]:
    """The input files that the workflow takes; None where none was given."""
    given = {Key.IMAGE: context.image, Key.LAST_IMAGE: context.last_image, Key.VIDEO: context.video}
    return {key: path for key, path in given.items() if workflow.bound(key)}


def content_name(path: Path) -> str:
    """A name that only this content has; nothing of the client's is in it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:40] + path.suffix.lower()


def bind_values(
    parameters: Sequence[Parameter],
    values: Mapping[Key, Any],
    schema: Mapping[str, NodeSchema],
    graph: Graph,
) -> dict[tuple[str, str], Any]:
    """``values`` by node and input, as the types of the inputs want them.

    Raises:
        GenerationFailed: a value does not fit its input.
    """
    bound: dict[tuple[str, str], Any] = {}
    for parameter in parameters:
        if parameter.key is not None and parameter.key in values:
            declared = schema.get(graph[parameter.node].class_type)
            spec = declared.inputs.get(parameter.input) if declared else None
            value = values[parameter.key]
            if parameter.key not in MEDIA:
                value = _converted(parameter, value, spec)
            bound[parameter.node, parameter.input] = value
    return bound


def _converted(parameter: Parameter, value: Any, spec: InputSchema | None) -> Any:
    kind = spec.type if spec else _kind_of(parameter.default)
    if kind == "INT" and isinstance(value, int | float):
        whole = round(value)
        if parameter.key == Key.SEED and spec and spec.max is not None:
            whole %= int(spec.max) + 1  # every seed is as good as another
        return whole
    if kind == "FLOAT" and isinstance(value, int | float):
        return float(value)
    if kind == "STRING":
        return value if isinstance(value, str) else f"{value:g}"
    if kind == "COMBO" and spec and spec.options:
        return _choice(parameter, value, spec.options)
    return value


def _choice(parameter: Parameter, value: Any, options: Sequence[Any]) -> Any:
    for option in options:
        if option == value or str(option) == str(value):
            return option
        if isinstance(value, int | float) and _equals(option, value):
            return option
    shown = ", ".join(str(option) for option in options[:20])
    raise GenerationFailed(
        f"The workflow takes for {parameter.name} one of {shown}; not {str(value)[:100]!r}."
    )


def _equals(option: Any, value: float) -> bool:
    try:
        return math.isclose(float(option), value)
    except (TypeError, ValueError):
        return False


def _kind_of(default: Any) -> str:
    """The type of an input of which no server tells, by the value that the file has there."""
    match default:
        case bool():
            return "BOOLEAN"
        case int():
            return "INT"
        case float():
            return "FLOAT"
        case str():
            return "STRING"
        case _:
            return ""
