"""Parsed workflow files: a graph, its parameters and its result."""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from framegate.plugins.comfyui.workflows.bindings import Parameter, bind_parameters, read_markers
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import Graph, Node, read_graph
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.title_markers import Marker
from framegate.plugins.comfyui.workflows.vocabulary import ParameterKey, closest_match

FileKind: TypeAlias = Literal["video", "image", "audio"]
ResultKind: TypeAlias = Literal["video", "image"]

_KINDS: Mapping[str, FileKind] = {"video": "video", "image": "image", "audio": "audio"}
_RESULT_KINDS: tuple[ResultKind, ...] = ("video", "image")

# The node classes that save a graph's results, by what they save.
_SAVERS: Mapping[str, FileKind] = {
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
    """A workflow that can be run.

    ``output`` is the node that saves the result, a video or an image; ``audio_output``, if not empty, is the
    node whose file is added to a silent video.
    """

    name: str
    graph: Graph
    parameters: Sequence[Parameter]
    output: str
    kind: ResultKind
    audio_output: str = ""

    def parameters_of(self, key: ParameterKey) -> list[Parameter]:
        """Return the parameters that take this part of a request."""
        return [parameter for parameter in self.parameters if parameter.key == key]

    @property
    def class_types(self) -> set[str]:
        """The classes of all nodes."""
        return {node.class_type for node in self.graph.values()}


def parse_workflow(name: str, data: bytes, schema: Mapping[str, NodeSchema] | None = None) -> Workflow:
    """Parse a workflow file.

    ``schema`` is what a server declares of the file's node classes, if one was queried.

    Raises:
        WorkflowError: The file can't be used; the reason names the node and its title.
    """
    graph = read_graph(data)
    parameters = bind_parameters(graph, schema or {})
    output, kind = _find_output(graph)
    return Workflow(name, graph, parameters, output, kind, _find_audio_output(graph))


def _find_output(graph: Graph) -> tuple[str, ResultKind]:
    """Return the node marked as the result, or else one that saves a file, videos before images."""
    marked: list[tuple[Node, FileKind]] = []
    named: list[tuple[Node, FileKind]] = []
    for node in graph.values():
        for marker in read_markers(node):
            if marker.is_output:
                _check_spelling(node, marker)
            if marker.is_output and (kind := _KINDS.get(marker.name)):
                marked.append((node, kind))
            elif marker.is_output and node.class_type in _SAVERS:
                named.append((node, _SAVERS[node.class_type]))
    savers = [(node, _SAVERS[node.class_type]) for node in graph.values() if node.class_type in _SAVERS]
    for candidates in (marked, named, savers):
        for result_kind in _RESULT_KINDS:
            nodes = [node for node, kind in candidates if kind == result_kind]
            if len(nodes) > 1 and candidates is marked:
                raise WorkflowError(
                    f"{' and '.join(node.label for node in nodes)} are both marked $output.{result_kind}; "
                    "remove one of the markers"
                )
            if nodes:
                finished = [node for node in nodes if not node.class_type.startswith("Preview")]
                return (finished or nodes)[0].id, result_kind
    if any(kind == "audio" for _, kind in (*marked, *savers)):
        raise WorkflowError("it makes nothing but audio; Framegate serves images and videos")
    raise WorkflowError(
        "no node is marked as its result: put $output.video or $output.image into the title of the node that "
        "saves it"
    )


def _check_spelling(node: Node, marker: Marker) -> None:
    """Refuse misspelt kinds; by ComfyKit's grammar a result may have any name, such as $output.cover."""
    name = marker.name.lower()
    suggestion = closest_match(name, _KINDS)
    if suggestion and marker.name not in _KINDS and name.isalpha() and not name.startswith(suggestion):
        raise WorkflowError(
            f"{node.label}: {marker.text} is not a kind of result; did you mean $output.{suggestion}? "
            f"Available: {', '.join(f'$output.{kind}' for kind in _KINDS)}"
        )


def _find_audio_output(graph: Graph) -> str:
    for node in graph.values():
        if any(marker.is_output and marker.name == "audio" for marker in read_markers(node)):
            return node.id
    return ""
