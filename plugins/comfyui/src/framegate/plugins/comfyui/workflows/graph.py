"""Graphs in ComfyUI's API format."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

from msgspec import Struct
from msgspec.structs import replace

from framegate.plugins.comfyui.json_access import is_array, is_object, items, table
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema

Link: TypeAlias = "list[Any]"
"""``[node id, index of its output]``, as the value of an input."""

MAX_BYTES = 20 * 2**20

_HOW_TO_EXPORT = (
    'In ComfyUI choose "Workflow", "Export (API)" (in older versions "Save (API Format)", after enabling the '
    "developer options in the settings) and use that file"
)


class Node(Struct, frozen=True):
    """A node of a graph; the values of ``inputs`` are constants or links."""

    id: str
    class_type: str
    title: str
    inputs: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The node's name in messages."""
        title = f' "{self.title}"' if self.title and self.title != self.class_type else ""
        return f"node {self.id}{title} ({self.class_type})"

    @property
    def links(self) -> Iterator[tuple[str, str]]:
        """The names of its linked inputs, each with the id of the node that it is linked to."""
        return ((name, value[0]) for name, value in self.inputs.items() if is_link(value))


Graph: TypeAlias = Mapping[str, Node]


def is_link(value: Any) -> TypeGuard[Link]:
    """Return whether an input's value is a link, by ComfyUI's own rule."""
    match items(value):
        case [str(), int(index)]:
            return not isinstance(index, bool)
        case _:
            return False


def read_graph(data: bytes) -> Graph:
    """Parse a workflow file.

    Raises:
        WorkflowError: The file is not JSON, is in another format, or has a link to a missing node.
    """
    if len(data) > MAX_BYTES:
        raise WorkflowError(
            f"it is {len(data) / 2**20:.0f} MiB large; at most {MAX_BYTES >> 20} MiB are read"
        )
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"it is not valid JSON: {error}") from None
    if not is_object(tree):
        raise WorkflowError(f"it does not hold a graph. {_HOW_TO_EXPORT}")
    if is_array(tree.get("nodes")):
        raise WorkflowError(f"it is in ComfyUI's UI format, which can't be run. {_HOW_TO_EXPORT}")
    if not tree:
        raise WorkflowError("it has no nodes")
    graph = {node_id: _read_node(node_id, value) for node_id, value in tree.items()}
    for node in graph.values():
        for name, source in node.links:
            if source not in graph:
                raise WorkflowError(
                    f"{node.label}: its input {name} is linked to node {source}, which does not exist"
                )
    return graph


def _read_node(node_id: str, value: Any) -> Node:
    class_type, inputs = table(value).get("class_type"), table(value).get("inputs")
    if not isinstance(class_type, str) or not is_object(inputs):
        raise WorkflowError(f"{node_id!r} is not a node, which has a class_type and inputs. {_HOW_TO_EXPORT}")
    title = table(table(value).get("_meta")).get("title")
    return Node(node_id, class_type, title if isinstance(title, str) else "", inputs)


def upstream(graph: Graph, start: str) -> Iterator[Node]:
    """Yield ``start`` and the nodes that it depends on, nearest first."""
    seen, queue = {start}, [start]
    while queue:
        node = graph[queue.pop(0)]
        yield node
        for _, source in node.links:
            if source not in seen:
                seen.add(source)
                queue.append(source)


def prune(graph: Graph, dropped: Collection[str], schema: Mapping[str, NodeSchema]) -> Graph:
    """Return the graph without the nodes ``dropped``.

    Inputs that were linked to them are left out where they are optional; where one is required, or of a class
    that ``schema`` lacks, its node is dropped as well.
    """
    gone, size = set(dropped), 0
    while len(gone) > size:
        size = len(gone)
        for node in graph.values():
            declared = schema.get(node.class_type)
            for name, source in node.links:
                spec = declared.inputs.get(name) if declared else None
                if source in gone and (spec is None or spec.required):
                    gone.add(node.id)
    return {node.id: _unlink(node, gone) for node in graph.values() if node.id not in gone}


def _unlink(node: Node, gone: Collection[str]) -> Node:
    unlinked = {name for name, source in node.links if source in gone}
    return replace(node, inputs={name: value for name, value in node.inputs.items() if name not in unlinked})
