"""A graph in ComfyUI's API format."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, TypeGuard

from msgspec import Struct

from framegate.plugins.comfyui.json_access import is_array, is_object, items, table
from framegate.plugins.comfyui.workflows.errors import WorkflowFault

Link: TypeAlias = "list[Any]"
"""``[node id, index of its output]``, as the value of an input."""

MAX_BYTES = 20 * 2**20

_HOW_TO_EXPORT = (
    'In ComfyUI choose "Workflow", "Export (API)" (in older ones "Save (API Format)", after switching on the '
    "developer options in the settings) and take the file that this gives"
)


class Node(Struct, frozen=True):
    id: str
    class_type: str
    title: str
    inputs: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How messages call it."""
        shown = f' "{self.title}"' if self.title and self.title != self.class_type else ""
        return f"node {self.id}{shown} ({self.class_type})"

    @property
    def links(self) -> Iterator[tuple[str, str]]:
        """Its wired inputs, each with the id of the node that it is wired to."""
        return ((name, value[0]) for name, value in self.inputs.items() if is_link(value))


Graph: TypeAlias = Mapping[str, Node]


def is_link(value: Any) -> TypeGuard[Link]:
    """As ComfyUI itself tells a wire from a value."""
    match items(value):
        case [str(), int(index)]:
            return not isinstance(index, bool)
        case _:
            return False


def read_graph(data: bytes) -> Graph:
    """The graph in a workflow file.

    Raises:
        WorkflowFault: it is none, or in another format.
    """
    if len(data) > MAX_BYTES:
        raise WorkflowFault(f"it has {len(data) / 2**20:.0f} MiB; no workflow is that large")
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise WorkflowFault(f"it is no JSON: {error}") from None
    if not is_object(tree):
        raise WorkflowFault(f"it holds no graph. {_HOW_TO_EXPORT}")
    if is_array(tree.get("nodes")):
        raise WorkflowFault(f"it is in ComfyUI's UI format, which can't be run. {_HOW_TO_EXPORT}")
    if not tree:
        raise WorkflowFault("it has no nodes")
    graph = {node_id: _node(node_id, value) for node_id, value in tree.items()}
    for node in graph.values():
        for name, source in node.links:
            if source not in graph:
                raise WorkflowFault(
                    f"{node.label}: its input {name} is wired to node {source}, which is not there"
                )
    return graph


def _node(node_id: str, value: Any) -> Node:
    class_type, inputs = table(value).get("class_type"), table(value).get("inputs")
    if not isinstance(class_type, str) or not is_object(inputs):
        raise WorkflowFault(f"{node_id!r} is no node: one has a class_type and inputs. {_HOW_TO_EXPORT}")
    title = table(table(value).get("_meta")).get("title")
    return Node(node_id, class_type, title if isinstance(title, str) else "", inputs)


def upstream(graph: Graph, start: str) -> Iterator[Node]:
    """The nodes that ``start`` depends on, itself first, nearest before farther ones."""
    seen, waiting = {start}, [start]
    while waiting:
        node = graph[waiting.pop(0)]
        yield node
        for _, source in node.links:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
