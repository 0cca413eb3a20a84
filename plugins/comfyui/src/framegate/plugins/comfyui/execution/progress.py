"""How far a prompt has come: over all its nodes, with samplers weighted by their steps."""

from collections.abc import Collection, Mapping
from typing import Any

from framegate.plugins.comfyui.json_access import is_number, items, table
from framegate.plugins.comfyui.workflows.graph import Graph, Node, is_link

_DEFAULT_STEPS = 20
_MAX_RUNNING_SHARE = 0.999


class GraphProgress:
    """The progress of one prompt, computed from the websocket's events."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._weights = {node.id: _weight(graph, node) for node in graph.values()}
        # Without a known sampler, any node may be one.
        self._samplers = [node.id for node in graph.values() if _is_sampler(node)] or list(graph)
        self._done: dict[str, float] = {}
        self._best = 0.0
        self.started = False
        self.message = ""

    @property
    def fraction(self) -> float:
        """The share of the whole graph that is done, 0…1; it never decreases."""
        self._best = max(self._best, self._share_of(self._graph))
        return self._best

    @property
    def sampled(self) -> float:
        """The share of the samplers' steps that are done, 0…1."""
        return self._share_of(self._samplers)

    def handle_event(self, event_type: str, data: Mapping[str, Any]) -> None:
        """Take an event of this prompt into account; unknown and malformed ones change nothing."""
        self.started = self.started or event_type != "status"
        node = str(data.get("node"))
        match event_type:
            case "execution_cached":
                for cached in items(data.get("nodes")):
                    self._set_done(str(cached), 1.0)
            case "executing":
                self._set_message(node)
            case "progress":
                self._set_done(node, _share(data.get("value"), data.get("max")))
            case "executed":
                self._set_done(node, 1.0)
            case "progress_state":
                for each, state in table(data.get("nodes")).items():
                    self._handle_state(each, table(state))
            case _:
                pass

    def _share_of(self, nodes: Collection[str]) -> float:
        total = sum(self._weights[node] for node in nodes)
        done = sum(self._weights[node] * self._done.get(node, 0.0) for node in nodes)
        return min(done / total, 1.0)

    def _handle_state(self, node: str, state: Mapping[str, Any]) -> None:
        if state.get("state") == "finished":
            self._set_done(node, 1.0)
        elif state.get("state") == "running":
            self._set_done(node, min(_share(state.get("value"), state.get("max")), _MAX_RUNNING_SHARE))
            self._set_message(node)

    def _set_done(self, node: str, share: float) -> None:
        if node in self._weights:
            self._done[node] = max(share, self._done.get(node, 0.0))

    def _set_message(self, node: str) -> None:
        if node in self._graph:
            self.message = self._graph[node].class_type


def _share(value: Any, maximum: Any) -> float:
    if is_number(value) and is_number(maximum) and maximum > 0:
        return max(0.0, min(value / maximum, 1.0))
    return 0.0


def _is_sampler(node: Node) -> bool:
    return "sampler" in node.class_type.lower() and any(True for _ in node.links)


def _weight(graph: Graph, node: Node) -> float:
    """Return the steps of a sampler, or 1 for every other node."""
    if not _is_sampler(node):
        return 1.0
    steps = node.inputs.get("steps")
    sigmas = node.inputs.get("sigmas")
    if is_link(sigmas):
        source = graph[sigmas[0]]
        steps = source.inputs.get("steps")
        if isinstance(manual := source.inputs.get("sigmas"), str):
            steps = len(manual.split(",")) - 1
    if is_link(steps):
        steps = graph[steps[0]].inputs.get("value")
    return max(1.0, float(steps)) if is_number(steps) else float(_DEFAULT_STEPS)
