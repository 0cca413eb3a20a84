"""One prompt's way through its nodes."""

import hashlib
import io
import json
import struct
import time
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from PIL import Image, ImageOps

from tests.support.comfyui.fake_comfyui.controls import HeldNode, NodeFailure
from tests.support.comfyui.fake_comfyui.nodes.declaration import NODES, NodeResult, UiOutput
from tests.support.comfyui.fake_comfyui.sockets import Message
from tests.support.comfyui.fake_comfyui.validation import is_link

if TYPE_CHECKING:
    from tests.support.comfyui.fake_comfyui.prompt_queue import PromptQueue

QueueItem: TypeAlias = list[Any]
"""``[number, prompt id, graph, extra data, output nodes]``, as ``/queue`` and the history show it."""

JPEG_PREVIEW = struct.pack(">II", 1, 1)
NAMED_PREVIEW = 4
LARGEST_PREVIEW = 512
PREVIEW_METHODS = ("none", "auto", "latent2rgb", "taesd")

OOM_TIPS = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


class PromptInterrupted(Exception):
    """The prompt was interrupted."""


class InjectedFailure(Exception):
    """The failure that a test asked for."""

    def __init__(self, failure: NodeFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class PromptRun:
    """Run one prompt, sending the events that a real server sends."""

    def __init__(self, queue: "PromptQueue", item: QueueItem) -> None:
        _, self._id, self.prompt, extra, self._wanted = item
        self.folders = queue.folders
        self.outputs: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.messages: list[Any] = []
        self.succeeded = False
        self._queue = queue
        self._client: str | None = extra.get("client_id")
        self._keys: dict[str, str] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._executed: list[str] = []
        self._current = ""
        asked = "" if queue.older else extra.get("preview_method", "")
        method = asked if asked in PREVIEW_METHODS else queue.preview_method
        self._previews = method != "none"

    def execute(self) -> None:
        self._record("execution_start")
        keys = {node_id: self._key(node_id) for node_id in self.prompt}
        cache = self._queue.cache
        for key in set(cache) - set(keys.values()):
            del cache[key]
        self._record("execution_cached", nodes=[node_id for node_id, key in keys.items() if key in cache])
        try:
            for node_id in sorted(self._wanted, key=lambda output: len(self._ancestors(output))):
                self._execute_node(node_id)
        except PromptInterrupted:
            self._record("execution_interrupted", **self._location())
        except Exception as error:
            self._record("execution_error", **self._location(), **self._describe_failure(error))
        else:
            self.succeeded = True
            self._record("execution_success")

    def send_to_client(self, event: str, data: Mapping[str, Any]) -> None:
        if self._client is not None:
            self._queue.sockets.send((event, data), self._client)

    def step(self, value: int, total: int, preview: Image.Image | None = None) -> None:
        if self._queue.interrupted.is_set():
            raise PromptInterrupted
        self._states[self._current] |= {"value": value, "max": total}
        self._send_states()
        jpeg = _jpeg(preview) if self._previews and preview is not None else b""
        features = self._queue.sockets.features.get(self._client or "", {})
        named = not self._queue.older and features.get("supports_preview_metadata") is True
        if jpeg and named:
            self._send(struct.pack(">I", NAMED_PREVIEW) + self._with_metadata(jpeg))
        data = {"value": value, "max": total, "prompt_id": self._id, "node": self._current}
        self._send(("progress", data))
        if jpeg and not named:
            self._send(JPEG_PREVIEW + jpeg)

    def _send(self, message: Message) -> None:
        """Send to the prompt's client, or to all clients if it has none."""
        self._queue.sockets.send(message, self._client)

    def _with_metadata(self, jpeg: bytes) -> bytes:
        node = self._current
        same = {"node_id": node, "display_node_id": node, "parent_node_id": None, "real_node_id": node}
        metadata = json.dumps({**same, "prompt_id": self._id, "image_type": "image/jpeg"}).encode()
        return struct.pack(">I", len(metadata)) + metadata + jpeg

    def _execute_node(self, node_id: str) -> None:
        key = self._key(node_id)
        cache = self._queue.cache
        if key in cache:
            if node_id in self._wanted:
                result = cache[key]
                if self._client is not None and isinstance(result, UiOutput):
                    self._publish(node_id, result)
                self._set_state(node_id, value=1, maximum=1, state="finished")
            return
        for source in self._sources(node_id):
            self._execute_node(source)
        self._current = node_id
        self._set_state(node_id, value=0.0, maximum=1.0, state="running")
        self.send_to_client("executing", {"node": node_id, "display_node": node_id, "prompt_id": self._id})
        self._wait(node_id)
        cache[key] = result = self._function(node_id)(self, **self._values(node_id))
        if isinstance(result, UiOutput):
            self._publish(node_id, result)
        maximum = self._states[node_id]["max"]
        self._set_state(node_id, value=maximum, maximum=maximum, state="finished")
        self._executed.append(node_id)

    def _wait(self, node_id: str) -> None:
        class_type = self.prompt[node_id]["class_type"]
        controls = self._queue.controls
        controls.wait_while_held(HeldNode(self._id, node_id, class_type), self._queue.interrupted)
        if self._queue.interrupted.is_set():
            raise PromptInterrupted
        failure = controls.failure_of(class_type)
        if failure:
            raise InjectedFailure(failure)

    def _publish(self, node_id: str, result: UiOutput) -> None:
        self.outputs[node_id] = result.ui
        same = {"node_id": node_id, "display_node": node_id, "real_node_id": node_id}
        self.meta[node_id] = {**same, "parent_node": None}
        data = {"node": node_id, "display_node": node_id, "output": result.ui, "prompt_id": self._id}
        self.send_to_client("executed", data)

    def _set_state(self, node_id: str, *, value: float, maximum: float, state: str) -> None:
        self._states[node_id] = {
            "value": value,
            "max": maximum,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._send_states()

    def _send_states(self) -> None:
        states = {node_id: dict(state) for node_id, state in self._states.items()}
        self._send(("progress_state", {"prompt_id": self._id, "nodes": states}))

    def _record(self, event: str, **data: object) -> None:
        data = {**data, "prompt_id": self._id, "timestamp": int(time.time() * 1000)}
        self.messages.append([event, data])
        if event == "execution_interrupted" and self._client is None:
            self._queue.sockets.send((event, data))
        self.send_to_client(event, data)

    def _location(self) -> dict[str, Any]:
        class_type = self.prompt[self._current]["class_type"]
        return {"node_id": self._current, "node_type": class_type, "executed": list(self._executed)}

    def _describe_failure(self, error: Exception) -> dict[str, Any]:
        kind = type(error).__qualname__
        if type(error).__module__ != "builtins":
            kind = f"{type(error).__module__}.{kind}"
        tips = ""
        if isinstance(error, InjectedFailure):
            kind = error.failure.exception_type
            tips = OOM_TIPS if "OutOfMemory" in kind else ""
        return {
            "exception_message": f"{error}\n{tips}",
            "exception_type": kind,
            "traceback": traceback.format_tb(error.__traceback__),
            "current_inputs": {
                name: [_formatted(value)] for name, value in self._values(self._current).items()
            },
            "current_outputs": list(self.prompt),
        }

    def _function(self, node_id: str) -> Callable[..., NodeResult]:
        return NODES[self.prompt[node_id]["class_type"]].run

    def _values(self, node_id: str) -> dict[str, Any]:
        given = self.prompt[node_id]["inputs"]
        declared = NODES[self.prompt[node_id]["class_type"]].inputs_for(given)
        return {
            name: self._resolve(value) if is_link(value) else value
            for name, value in given.items()
            if name in declared
        }

    def _resolve(self, link: list[Any]) -> object:
        result = self._queue.cache[self._key(link[0])]
        assert not isinstance(result, UiOutput)
        return result[link[1]]

    def _sources(self, node_id: str) -> list[str]:
        return [value[0] for value in self.prompt[node_id]["inputs"].values() if is_link(value)]

    def _ancestors(self, node_id: str) -> set[str]:
        return {node_id}.union(*(self._ancestors(source) for source in self._sources(node_id)))

    def _key(self, node_id: str) -> str:
        """Return a cache key: equal for nodes with equal results."""
        if node_id not in self._keys:
            node = self.prompt[node_id]
            parts = {
                name: [self._key(value[0]), value[1]] if is_link(value) else value
                for name, value in sorted(node["inputs"].items())
            }
            text = json.dumps([node["class_type"], parts, self._fingerprint(node)])
            self._keys[node_id] = hashlib.sha256(text.encode()).hexdigest()
        return self._keys[node_id]

    def _fingerprint(self, node: Mapping[str, Any]) -> str:
        declared = NODES[node["class_type"]]
        if declared.fingerprint is None:
            return ""
        given = {name: node["inputs"].get(name) for name in declared.self_checked}
        if any(value is None or is_link(value) for value in given.values()):
            return ""
        return declared.fingerprint(self.folders, **given)


def _jpeg(picture: Image.Image) -> bytes:
    result = io.BytesIO()
    size = LARGEST_PREVIEW, LARGEST_PREVIEW
    ImageOps.contain(picture, size, Image.Resampling.BILINEAR).save(result, "JPEG", quality=95)
    return result.getvalue()


def _formatted(value: object) -> object:
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else f"<{type(value).__qualname__} object>"
