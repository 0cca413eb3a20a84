"""A graph without what nothing was given for."""

from collections.abc import Collection, Mapping

from msgspec.structs import replace

from framegate.plugins.comfyui.workflows.graph import Graph
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema


def pruned(graph: Graph, dropped: Collection[str], schema: Mapping[str, NodeSchema]) -> Graph:
    """``graph`` without the nodes ``dropped``: inputs that were wired to them are left out where they are
    optional; where one is required its node goes as well."""
    gone, size = set(dropped), 0
    while len(gone) > size:
        size = len(gone)
        for node in graph.values():
            declared = schema.get(node.class_type)
            for name, source in node.links:
                spec = declared.inputs.get(name) if declared else None
                if source in gone and (spec is None or spec.required):
                    gone.add(node.id)
    return {
        node.id: replace(
            node, inputs=_kept(node.inputs, {name for name, source in node.links if source in gone})
        )
        for node in graph.values()
        if node.id not in gone
    }


def _kept(inputs: Mapping[str, object], lost: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in inputs.items() if name not in lost}
