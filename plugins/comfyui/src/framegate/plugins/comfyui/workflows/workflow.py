"""A workflow file, understood."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from framegate.plugins.comfyui.workflows.bindings import Parameter, find_parameters, markers_of
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.graph import Graph, Node, read_graph
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.title_markers import Marker
from framegate.plugins.comfyui.workflows.vocabulary import Key, closest

Kind: TypeAlias = Literal["video", "image", "audio"]

_KINDS: Mapping[str, Kind] = {"video": "video", "image": "image", "audio": "audio"}

# Nodes whose files are what a graph makes, by what they make.
_SAVERS: Mapping[str, Kind] = {
    "SaveVideo": "video",
    "SaveWEBM": "video",
    "SaveAnimatedWEBP": "video",
    "SaveAnimatedPNG": "video",
    "VHS_VideoCombine": "video",
    "SaveImage": "image",
    "SaveImageAdvanced": "image",
    "SaveImageWebsocket": "image",
    "PreviewImage": "image",
    "SaveAudio": "audio",
    "SaveAudioMP3": "audio",
    "SaveAudioOpus": "audio",
    "PreviewAudio": "audio",
}


class Workflow(Struct, frozen=True):
    """``output`` is the node whose file is the result, a video's or a picture's; ``sound``, if there is one,
    the node whose file goes with a silent video."""

    name: str
    graph: Graph
    parameters: Sequence[Parameter]
    output: str
    kind: Literal["video", "image"]
    sound: str = ""

    def bound(self, key: Key) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.key == key]

    @property
    def classes(self) -> set[str]:
        return {node.class_type for node in self.graph.values()}


def parse_workflow(name: str, data: bytes, schema: Mapping[str, NodeSchema] | None = None) -> Workflow:
    """``schema`` is what a server says of the classes in the file, if one was asked.

    Raises:
        WorkflowFault: saying what is wrong, with the node and its title.
    """
    graph = read_graph(data)
    parameters = find_parameters(graph, schema or {})
    output, kind = _find_output(graph)
    return Workflow(name, graph, parameters, output, kind, _find_sound(graph))


def _find_output(graph: Graph) -> tuple[str, Literal["video", "image"]]:
    """The marked node, else the only sort of file that the graph saves, videos before pictures."""
    marked: list[tuple[Node, Kind]] = []
    named: list[tuple[Node, Kind]] = []
    for node in graph.values():
        for marker in markers_of(node):
            if marker.is_output:
                _check_spelling(node, marker)
            if marker.is_output and (kind := _KINDS.get(marker.name)):
                marked.append((node, kind))
            elif marker.is_output and node.class_type in _SAVERS:
                named.append((node, _SAVERS[node.class_type]))
    saved = [(node, _SAVERS[node.class_type]) for node in graph.values() if node.class_type in _SAVERS]
    kinds: tuple[Literal["video", "image"], ...] = ("video", "image")
    for found in (marked, named, saved):
        for kind in kinds:
            nodes = [node for node, made in found if made == kind]
            if len(nodes) > 1 and found is marked:
                raise WorkflowFault(
                    f"{' and '.join(node.label for node in nodes)} are both marked $output.{kind}"
                )
            if nodes:
                finished = [node for node in nodes if not node.class_type.startswith("Preview")]
                return (finished or nodes)[0].id, kind
    if any(kind == "audio" for _, kind in (*marked, *saved)):
        raise WorkflowFault("it makes nothing but sound; Framegate serves pictures and videos")
    raise WorkflowFault(
        "no node is marked as its result: put $output.video or $output.image into the title of the node that "
        "saves it"
    )


def _check_spelling(node: Node, marker: Marker) -> None:
    """ComfyKit lets a result have any name ($output.cover, $output.image2); a slip of the pen is none."""
    named = marker.name.lower()
    meant = closest(named, _KINDS)
    if meant and marker.name not in _KINDS and named.isalpha() and not named.startswith(meant):
        raise WorkflowFault(
            f"{node.label}: {marker.text} is no sort of result; did you mean $output.{meant}? There are "
            f"{', '.join(f'$output.{kind}' for kind in _KINDS)}"
        )


def _find_sound(graph: Graph) -> str:
    for node in graph.values():
        if any(marker.is_output and marker.name == "audio" for marker in markers_of(node)):
            return node.id
    return ""


def as_prompt(graph: Graph, values: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """The graph as ``POST /prompt`` takes it, with ``values`` by node and input. Values are put into the tree
    as they are: nothing in them is ever read as JSON or as a marker."""
    prompt: dict[str, Any] = {}
    for node in graph.values():
        own = {name: value for (node_id, name), value in values.items() if node_id == node.id}
        prompt[node.id] = {
            "class_type": node.class_type,
            "inputs": {**node.inputs, **own},
            "_meta": {"title": node.title or node.class_type},
        }
    return prompt
