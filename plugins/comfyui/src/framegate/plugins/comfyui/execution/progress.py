"""How far a graph has come: over all its nodes, samplers by their steps."""

from collections.abc import Collection, Mapping
from typing import Any

from framegate.plugins.comfyui.json_access import is_number, items, table
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link

_DEFAULT_STEPS = 20


class GraphProgress:
    """Fed with the events of the websocket. ``fraction`` never goes back."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._weights = {node.id: _weight(graph, node) for node in graph.values()}
        # Where none is known for one, any node may be.
        self._samplers = [node.id for node in graph.values() if _samples(node)] or list(graph)
        self._done: dict[str, float] = {}
        self._best = 0.0
        self.started = False
        self.message = ""

    @property
    def fraction(self) -> float:
        self._best = max(self._best, self._share_of(self._graph))
        return self._best

    @property
    def sampled(self) -> float:
        """The share of its samplers alone."""
        return self._share_of(self._samplers)

    def take(self, kind: str, data: Mapping[str, Any]) -> None:
        """An event of this prompt."""
        self.started = self.started or kind != "status"
        node = str(data.get("node"))
        match kind:
            case "execution_cached":
                for cached in items(data.get("nodes")):
                    self._set(str(cached), 1.0)
            case "executing":
                self._name(node)
            case "progress":
                self._set(node, _share(data.get("value"), data.get("max")))
            case "executed":
                self._set(node, 1.0)
            case "progress_state":
                for each, state in table(data.get("nodes")).items():
                    self._take_state(each, table(state))
            case _:
                pass

    def _share_of(self, nodes: Collection[str]) -> float:
        total = sum(self._weights[node] for node in nodes)
        done = sum(self._weights[node] * self._done.get(node, 0.0) for node in nodes)
        return min(done / total, 1.0)

    def _take_state(self, node: str, state: Mapping[str, Any]) -> None:
        if state.get("state") == "finished":
            self._set(node, 1.0)
        elif state.get("state") == "running":
            self._set(node, min(_share(state.get("value"), state.get("max")), 0.999))
            self._name(node)

    def _set(self, node: str, share: float) -> None:
        if node in self._weights:
            self._done[node] = max(share, self._done.get(node, 0.0))

    def _name(self, node: str) -> None:
        if node in self._graph:
            self.message = self._graph[node].class_type


def _share(value: Any, most: Any) -> float:
    if is_number(value) and is_number(most) and most > 0:
        return max(0.0, min(value / most, 1.0))
    return 0.0


def _samples(node: Node) -> bool:
    return "sampler" in node.class_type.lower() and any(True for _ in node.links)


def _weight(graph: Graph, node: Node) -> float:
    """A sampler weighs as much as it has steps, every other node as much as one."""
    if not _samples(node):
        return 1.0
    steps = node.inputs.get("steps")
    sigmas = node.inputs.get("sigmas")
    if is_link(sigmas):
        source = graph[sigmas[0]]
        steps = source.inputs.get("steps")
        if isinstance(listed := source.inputs.get("sigmas"), str):
            steps = len(listed.split(",")) - 1
    if is_link(steps):
        steps = graph[steps[0]].inputs.get("value")
    return max(1.0, float(steps)) if is_number(steps) else float(_DEFAULT_STEPS)
