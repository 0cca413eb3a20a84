"""Which inputs of which nodes a workflow's titles bind."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.title_markers import Marker, parse_title
from framegate.plugins.comfyui.workflows.vocabulary import MEDIA, Key, closest_key, inputs_for, key_of


class Parameter(Struct, frozen=True):
    """An input that a marker binds. ``key`` is what of a request goes there: nothing (None) where no request
    can set it, and the graph's own value, ``default``, holds."""

    name: str
    key: Key | None
    node: str
    input: str
    default: Any
    required: bool = False
    description: str = ""


def find_parameters(graph: Graph, schema: Mapping[str, NodeSchema]) -> list[Parameter]:
    """``schema`` knows the classes that a server was asked about; it may be empty.

    Raises:
        WorkflowFault: a marker binds nothing, or can't be honoured.
    """
    parameters: list[Parameter] = []
    for node in graph.values():
        declared = schema.get(node.class_type)
        parameters += [_bind(node, marker, declared) for marker in markers_of(node) if not marker.is_output]
    taken: dict[tuple[str, str], str] = {}
    for parameter in parameters:
        place = parameter.node, parameter.input
        if other := taken.get(place):
            raise WorkflowFault(
                f"{graph[parameter.node].label}: ${other} and ${parameter.name} both set its input "
                f"{parameter.input}"
            )
        taken[place] = parameter.name
    return parameters


def markers_of(node: Node) -> list[Marker]:
    """Raises:
    WorkflowFault: the title has a broken one.
    """
    try:
        return parse_title(node.title)
    except ValueError as error:
        raise WorkflowFault(f"{node.label}: {error}") from None


def _bind(node: Node, marker: Marker, declared: NodeSchema | None) -> Parameter:
    key = key_of(marker.name, node.class_type)
    wanted = marker.field or marker.name
    known = {*node.inputs, *(declared.inputs if declared else ())}
    files = [name for name in _file_inputs(node, declared) if name in known]
    if marker.is_param and key is None and not marker.upload and marker.name not in known:
        raise WorkflowFault(_unknown_key(node, marker))
    unfamiliar = key is None and (wanted in files or not (marker.field or wanted in known))
    if marker.upload or (files and unfamiliar):
        key = key if key in MEDIA else _media_key(node, files, declared)
    target = _target(node, marker, key, known, files, declared)
    if is_link(node.inputs.get(target)):
        source = node.inputs[target][0]
        raise WorkflowFault(
            f"{node.label}: {marker.text} would set its input {target}, which is wired to node {source}; put "
            "the marker on that node"
        )
    if key is None and marker.required:
        raise WorkflowFault(
            f"{node.label}: {marker.text} is required, but no request can say it; without the ! the value in "
            f"the file holds. Requests can say {', '.join(Key)}"
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


def _unknown_key(node: Node, marker: Marker) -> str:
    meant = closest_key(marker.name)
    hint = f"; did you mean $param.{meant}?" if meant else "."
    return (
        f"{node.label}: {marker.text} binds nothing, for requests have no {marker.name}{hint} They have "
        f"{', '.join(Key)}. Inputs that can be set: {_settable(node)}"
    )


def _target(
    node: Node,
    marker: Marker,
    key: Key | None,
    known: set[str],
    files: list[str],
    declared: NodeSchema | None,
) -> str:
    wanted = marker.field or marker.name
    if wanted in known:
        return wanted
    candidates: list[str] = []
    if marker.upload or key in MEDIA:
        candidates += files
    if not marker.field or key in MEDIA:
        candidates += [name for name in inputs_for(wanted, key) if name in known]
    if declared is None and (marker.upload or key in MEDIA):
        # A loader that is not known until a server tells of it.
        candidates += [name for name, value in node.inputs.items() if isinstance(value, str)]
    if candidates:
        free = (name for name in candidates if not is_link(node.inputs.get(name)))
        return next(free, candidates[0])
    raise WorkflowFault(
        f"{node.label}: {marker.text} binds nothing. Inputs that can be set: {_settable(node)}"
    )


def _settable(node: Node) -> str:
    return ", ".join(name for name, value in node.inputs.items() if not is_link(value)) or "none"


_LOADERS = ("loadimage", "loadvideo", "loadaudio")


def _file_inputs(node: Node, declared: NodeSchema | None) -> list[str]:
    """The inputs that take an uploaded file: by the server's word, else by what loaders are called."""
    if declared is not None:
        return [name for name, spec in declared.inputs.items() if spec.upload]
    is_loader = any(loader in node.class_type.lower() for loader in _LOADERS)
    return ["image", "video", "audio", "file"] if is_loader else []


def _media_key(node: Node, files: list[str], declared: NodeSchema | None) -> Key | None:
    """What an upload of an unfamiliar name is: the input video or picture. Requests have no sound."""
    name = node.class_type.lower()
    kinds = {declared.inputs[file].upload for file in files} if declared else set[str | None]()
    if "audio" in kinds or "audio" in name:
        return None
    return Key.VIDEO if "video" in kinds or "video" in name else Key.IMAGE
