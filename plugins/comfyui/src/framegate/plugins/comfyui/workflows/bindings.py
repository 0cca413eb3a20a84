"""Which inputs of which nodes the markers in a workflow's titles bind."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.title_markers import Marker, parse_title
from framegate.plugins.comfyui.workflows.vocabulary import (
    MEDIA_KEYS,
    ParameterKey,
    candidate_inputs,
    match_key,
    suggest_key,
)

_LOADERS = ("loadimage", "loadvideo", "loadaudio")


class Parameter(Struct, frozen=True):
    """An input that a marker binds.

    ``key`` is the request parameter that goes there, or None if no request can set it: ``default``, the
    graph's own value, is used then.
    """

    name: str
    key: ParameterKey | None
    node: str
    input: str
    default: Any
    required: bool = False
    description: str = ""


def bind_parameters(graph: Graph, schema: Mapping[str, NodeSchema]) -> list[Parameter]:
    """Return the parameters that the graph's titles bind.

    ``schema`` holds the node classes that a server declares; it may be empty.

    Raises:
        WorkflowError: A marker binds nothing, or something that can't be set.
    """
    parameters: list[Parameter] = []
    for node in graph.values():
        declared = schema.get(node.class_type)
        parameters += [_bind(node, marker, declared) for marker in read_markers(node) if not marker.is_output]
    bound: dict[tuple[str, str], str] = {}
    for parameter in parameters:
        place = parameter.node, parameter.input
        if other := bound.get(place):
            raise WorkflowError(
                f"{graph[parameter.node].label}: ${other} and ${parameter.name} both set its input "
                f"{parameter.input}; remove one of them"
            )
        bound[place] = parameter.name
    return parameters


def read_markers(node: Node) -> list[Marker]:
    """Return the markers in a node's title.

    Raises:
        WorkflowError: One of them is malformed.
    """
    try:
        return parse_title(node.title)
    except ValueError as error:
        raise WorkflowError(f"{node.label}: {error}") from None


def _bind(node: Node, marker: Marker, declared: NodeSchema | None) -> Parameter:
    key = match_key(marker.name, node.class_type)
    input_name = marker.field or marker.name
    known = {*node.inputs, *(declared.inputs if declared else ())}
    file_inputs = [name for name in _file_inputs(node, declared) if name in known]
    if marker.is_param and key is None and not marker.upload and marker.name not in known:
        raise WorkflowError(_describe_unknown_key(node, marker))
    is_unfamiliar = key is None and (input_name in file_inputs or not (marker.field or input_name in known))
    if marker.upload or (file_inputs and is_unfamiliar):
        key = key if key in MEDIA_KEYS else _media_key(node, file_inputs, declared)
    target = _target_input(node, marker, key, known, file_inputs, declared)
    if is_link(node.inputs.get(target)):
        source = node.inputs[target][0]
        raise WorkflowError(
            f"{node.label}: {marker.text} would set its input {target}, which is linked to node {source}; "
            "put the marker on that node"
        )
    if key is None and marker.required:
        raise WorkflowError(
            f"{node.label}: {marker.text} is required, but requests have no such parameter; remove the ! to "
            f"use the value in the file. Requests have {', '.join(ParameterKey)}"
        )
    return Parameter(
        name=marker.name,
        key=key,
        node=node.id,
        input=target,
        default=node.inputs.get(target),
        required=marker.required,
        description=marker.description,
    )


def _describe_unknown_key(node: Node, marker: Marker) -> str:
    suggestion = suggest_key(marker.name)
    hint = f"; did you mean $param.{suggestion}?" if suggestion else "."
    return (
        f"{node.label}: {marker.text} binds nothing, because requests have no {marker.name}{hint} They have "
        f"{', '.join(ParameterKey)}. Inputs that can be set: {_settable_inputs(node)}"
    )


def _target_input(
    node: Node,
    marker: Marker,
    key: ParameterKey | None,
    known: set[str],
    file_inputs: list[str],
    declared: NodeSchema | None,
) -> str:
    input_name = marker.field or marker.name
    if input_name in known:
        return input_name
    candidates: list[str] = []
    if marker.upload or key in MEDIA_KEYS:
        candidates += file_inputs
    if not marker.field or key in MEDIA_KEYS:
        candidates += [name for name in candidate_inputs(input_name, key) if name in known]
    if declared is None and (marker.upload or key in MEDIA_KEYS):
        # A loader of an unknown class, until a server describes it.
        candidates += [name for name, value in node.inputs.items() if isinstance(value, str)]
    if candidates:
        unlinked = (name for name in candidates if not is_link(node.inputs.get(name)))
        return next(unlinked, candidates[0])
    raise WorkflowError(
        f"{node.label}: {marker.text} binds nothing. Inputs that can be set: {_settable_inputs(node)}"
    )


def _settable_inputs(node: Node) -> str:
    return ", ".join(name for name, value in node.inputs.items() if not is_link(value)) or "none"


def _file_inputs(node: Node, declared: NodeSchema | None) -> list[str]:
    """Return the inputs that take an uploaded file, as the server declares them or else by usual names."""
    if declared is not None:
        return [name for name, spec in declared.inputs.items() if spec.upload]
    is_loader = any(loader in node.class_type.lower() for loader in _LOADERS)
    return ["image", "video", "audio", "file"] if is_loader else []


def _media_key(node: Node, file_inputs: list[str], declared: NodeSchema | None) -> ParameterKey | None:
    """Return whether an upload of an unfamiliar name is the input image or video; requests have no audio."""
    name = node.class_type.lower()
    uploads = {declared.inputs[each].upload for each in file_inputs} if declared else set[str | None]()
    if "audio" in uploads or "audio" in name:
        return None
    return ParameterKey.VIDEO if "video" in uploads or "video" in name else ParameterKey.IMAGE
