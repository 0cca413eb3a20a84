"""How tests hold, break and inspect the server."""

import threading
from typing import Any

from msgspec import Struct


class NodeFailure(Struct, frozen=True):
    """The next run of a node of ``class_type`` raises an exception of this name."""

    class_type: str
    exception_type: str
    message: str


class HttpFault(Struct):
    """The next ``times`` requests to a path that begins so get ``status``; 0 breaks the connection.

    ``after``: the request is handled first. ``delay``: it is handled as usual, after that many seconds.
    """

    path: str
    status: int
    times: int = 1
    after: bool = False
    delay: float = 0.0


class ReceivedRequest(Struct, frozen=True):
    """A request. ``body`` is its JSON, or for a form the values of fields and the names of files."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any = None


class HeldNode(Struct, frozen=True):
    prompt_id: str
    node_id: str
    class_type: str


class Controls:
    """Shared by the server's event loop and the thread that runs prompts."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stops: set[str] = set()
        self._failures: list[NodeFailure] = []
        self.faults: list[HttpFault] = []
        self.requests: list[ReceivedRequest] = []
        self.held: HeldNode | None = None
        self.refuse_sockets = False

    def hold(self, class_type: str) -> None:
        """Stop before nodes of this class (``*``: of any)."""
        with self._changed:
            self._stops.add(class_type)

    def release(self, class_type: str | None) -> None:
        """Continue at nodes of this class (None: of all)."""
        with self._changed:
            self._stops -= self._stops if class_type is None else {class_type}
            if self.held is not None and not self._stops_at(self.held):
                self.held = None
            self._changed.notify_all()

    def wake(self) -> None:
        """Let held nodes notice a change."""
        with self._changed:
            self._changed.notify_all()

    def fail(self, failure: NodeFailure) -> None:
        self._failures.append(failure)

    def failure_of(self, class_type: str) -> NodeFailure | None:
        for failure in self._failures:
            if failure.class_type == class_type:
                self._failures.remove(failure)
                return failure
        return None

    def wait_while_held(self, at: HeldNode, interrupted: threading.Event) -> None:
        with self._changed:
            while self._stops_at(at) and not interrupted.is_set():
                self.held = at
                self._changed.wait()
            self.held = None

    def _stops_at(self, node: HeldNode) -> bool:
        return not self._stops.isdisjoint({"*", node.class_type})

    def fault_at(self, path: str) -> HttpFault | None:
        for fault in self.faults:
            if path.startswith(fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None
