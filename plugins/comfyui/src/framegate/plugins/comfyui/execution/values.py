"""The values that a shot puts into a graph."""

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
from framegate.plugins.comfyui.workflows.vocabulary import MEDIA_KEYS, ParameterKey
from framegate.plugins.comfyui.workflows.workflow import Workflow

_MAX_OPTIONS = 20


def shot_values(shot: Shot) -> dict[ParameterKey, Any]:
    """Return the values that ``shot`` sets, leaving out the keys that it doesn't."""
    values: dict[ParameterKey, Any] = {
        ParameterKey.TEXT: shot.prompt,
        ParameterKey.NEGATIVE_TEXT: shot.negative_prompt,
        ParameterKey.WIDTH: shot.width,
        ParameterKey.HEIGHT: shot.height,
        ParameterKey.STEPS: shot.num_inference_steps,
        ParameterKey.CFG: shot.guidance_scale,
        ParameterKey.SEED: shot.seed,
    }
    if shot.strength is not None:
        values[ParameterKey.STRENGTH] = shot.strength
    if shot.task.output == MediaKind.VIDEO:
        values[ParameterKey.NUM_FRAMES] = shot.num_frames
        values[ParameterKey.FPS] = shot.fps
        values[ParameterKey.DURATION] = shot.num_frames / shot.fps
    else:
        values[ParameterKey.NUM_OUTPUTS] = shot.num_frames
    return values


def media_files(workflow: Workflow, context: GenerationContext) -> dict[ParameterKey, Path | None]:
    """Return the input files that the workflow takes, each None if the job has none."""
    files = {
        ParameterKey.IMAGE: context.image,
        ParameterKey.LAST_IMAGE: context.last_image,
        ParameterKey.VIDEO: context.video,
    }
    return {key: path for key, path in files.items() if workflow.parameters_of(key)}


def content_name(path: Path) -> str:
    """Return a file name derived from the content alone, so that a client's names never reach ComfyUI."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:40] + path.suffix.lower()


def bind_values(
    parameters: Sequence[Parameter],
    values: Mapping[ParameterKey, Any],
    schema: Mapping[str, NodeSchema],
    graph: Graph,
) -> dict[tuple[str, str], Any]:
    """Return ``values`` by node and input, converted to the types of the inputs.

    Raises:
        GenerationFailed: A value does not fit its input.
    """
    bound: dict[tuple[str, str], Any] = {}
    for parameter in parameters:
        if parameter.key is not None and parameter.key in values:
            declared = schema.get(graph[parameter.node].class_type)
            spec = declared.inputs.get(parameter.input) if declared else None
            value = values[parameter.key]
            if parameter.key not in MEDIA_KEYS:
                value = _convert(parameter, value, spec)
            bound[parameter.node, parameter.input] = value
    return bound


def _convert(parameter: Parameter, value: Any, spec: InputSchema | None) -> Any:
    input_type = spec.type if spec else _infer_type(parameter.default)
    if input_type == "INT" and isinstance(value, int | float):
        whole = round(value)
        if parameter.key == ParameterKey.SEED and spec and spec.max is not None:
            whole %= int(spec.max) + 1  # every seed is as good as another
        return whole
    if input_type == "FLOAT" and isinstance(value, int | float):
        return float(value)
    if input_type == "STRING":
        return value if isinstance(value, str) else f"{value:g}"
    if input_type == "COMBO" and spec and spec.options:
        return _choose_option(parameter, value, spec.options)
    return value


def _choose_option(parameter: Parameter, value: Any, options: Sequence[Any]) -> Any:
    for option in options:
        if option == value or str(option) == str(value):
            return option
        if isinstance(value, int | float) and _is_equal(option, value):
            return option
    listed = ", ".join(str(option) for option in options[:_MAX_OPTIONS])
    raise GenerationFailed(
        f"{parameter.name} can't be {str(value)[:100]!r}; the workflow takes one of {listed}."
    )


def _is_equal(option: Any, value: float) -> bool:
    try:
        return math.isclose(float(option), value)
    except (TypeError, ValueError):
        return False


def _infer_type(default: Any) -> str:
    """Return the type of an input that no server describes, from the value that the file has there."""
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
