"""The queue, the thread that runs prompts, its cache, and the history."""

import hashlib
import io
import json
import struct
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, ImageOps

from tests.support.comfyui.fake_comfyui.checking import is_link
from tests.support.comfyui.fake_comfyui.controls import Controls, Held, NodeFailure
from tests.support.comfyui.fake_comfyui.declaring import NODES, Made, Shown
from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.sockets import Message, Sockets

Item = list[Any]
"""``[number, prompt id, graph, extra data, output nodes]``, as ``/queue`` and the history show it."""

JPEG_PREVIEW = struct.pack(">II", 1, 1)
NAMED_PREVIEW = 4
LARGEST_PREVIEW = 512
PREVIEW_METHODS = ("none", "auto", "latent2rgb", "taesd")

OOM_TIPS = (
    "This error means you ran out of memory on your GPU.\n\n"
    "TIPS: If the workflow worked before you might have accidentally set the batch_size to a large number."
)


class Interrupted(Exception):
    """The prompt was interrupted."""


class InjectedFailure(Exception):
    """What a test asked for."""

    def __init__(self, failure: NodeFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Engine:
    """``preview_method``: what it was started with. ``older``: it knows nothing of what prompts and clients
    say of previews."""

    def __init__(
        self, folders: Folders, sockets: Sockets, controls: Controls, *, preview_method: str, older: bool
    ) -> None:
        self.preview_method = preview_method
        self.older = older
        self.folders = folders
        self.sockets = sockets
        self.controls = controls
        self.history: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, Made] = {}
        self.interrupted = threading.Event()
        self._pending: list[Item] = []
        self._running: Item | None = None
        self._changed = threading.Condition()

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, item: Item) -> None:
        with self._changed:
            self._pending.append(item)
            self._pending.sort(key=lambda each: float(each[0]))
            self._tell_queue()
            self._changed.notify()

    def queue(self) -> tuple[list[Item], list[Item]]:
        with self._changed:
            return ([] if self._running is None else [self._running]), list(self._pending)

    def remaining(self) -> dict[str, Any]:
        running, pending = self.queue()
        return {"exec_info": {"queue_remaining": len(running) + len(pending)}}

    def delete(self, prompt_id: str) -> bool:
        with self._changed:
            left = [item for item in self._pending if item[1] != prompt_id]
            deleted = len(left) < len(self._pending)
            self._pending = left
            self._tell_queue()
        return deleted

    def clear(self) -> None:
        with self._changed:
            self._pending = []
            self._tell_queue()

    def interrupt(self, prompt_id: str | None) -> bool:
        """The running prompt, if it is this one (``None``: whichever it is)."""
        with self._changed:
            hit = self._running is not None and prompt_id in {None, self._running[1]}
            if hit:
                self.interrupted.set()
        self.controls.wake()
        return hit

    def _tell_queue(self) -> None:
        running = 0 if self._running is None else 1
        told = {"status": {"exec_info": {"queue_remaining": len(self._pending) + running}}}
        self.sockets.send(("status", told))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                self._running = item = self._pending.pop(0)
                self.interrupted.clear()
                self._tell_queue()
            run = PromptRun(self, item)
            run.execute()
            with self._changed:
                self.history[item[1]] = {
                    "prompt": item,
                    "outputs": run.outputs,
                    "status": {
                        "status_str": "success" if run.succeeded else "error",
                        "completed": run.succeeded,
                        "messages": run.messages,
                    },
                    "meta": run.meta,
                }
                self._running = None
                self._tell_queue()
            run.tell("executing", {"node": None, "prompt_id": item[1]})


class PromptRun:
    """One prompt's way through its nodes."""

    def __init__(self, engine: Engine, item: Item) -> None:
        _, self._id, self.prompt, extra, self._wanted = item
        self.folders = engine.folders
        self.outputs: dict[str, Any] = {}
        self.meta: dict[str, Any] = {}
        self.messages: list[Any] = []
        self.succeeded = False
        self._engine = engine
        self._client: str | None = extra.get("client_id")
        self._keys: dict[str, str] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._executed: list[str] = []
        self._current = ""
        asked = "" if engine.older else extra.get("preview_method", "")
        method = asked if asked in PREVIEW_METHODS else engine.preview_method
        self._previews = method != "none"

    def execute(self) -> None:
        self._message("execution_start")
        keys = {node_id: self._key(node_id) for node_id in self.prompt}
        cache = self._engine.cache
        for key in set(cache) - set(keys.values()):
            del cache[key]
        self._message("execution_cached", nodes=[node_id for node_id, key in keys.items() if key in cache])
        try:
            for node_id in sorted(self._wanted, key=lambda output: len(self._needs(output))):
                self._make(node_id)
        except Interrupted:
            self._message("execution_interrupted", **self._whereabouts())
        except Exception as error:
            self._message("execution_error", **self._whereabouts(), **self._what_failed(error))
        else:
            self.succeeded = True
            self._message("execution_success")

    def tell(self, event: str, data: Mapping[str, Any]) -> None:
        if self._client is not None:
            self._engine.sockets.send((event, data), self._client)

    def step(self, value: int, total: int, preview: Image.Image | None = None) -> None:
        if self._engine.interrupted.is_set():
            raise Interrupted
        self._states[self._current] |= {"value": value, "max": total}
        self._tell_states()
        jpeg = _jpeg(preview) if self._previews and preview is not None else b""
        features = self._engine.sockets.features.get(self._client or "", {})
        named = not self._engine.older and features.get("supports_preview_metadata") is True
        if jpeg and named:
            self._send(struct.pack(">I", NAMED_PREVIEW) + self._named(jpeg))
        told = {"value": value, "max": total, "prompt_id": self._id, "node": self._current}
        self._send(("progress", told))
        if jpeg and not named:
            self._send(JPEG_PREVIEW + jpeg)

    def _send(self, message: Message) -> None:
        """What every client is told if the prompt has none."""
        self._engine.sockets.send(message, self._client)

    def _named(self, jpeg: bytes) -> bytes:
        node = self._current
        same = {"node_id": node, "display_node_id": node, "parent_node_id": None, "real_node_id": node}
        metadata = json.dumps({**same, "prompt_id": self._id, "image_type": "image/jpeg"}).encode()
        return struct.pack(">I", len(metadata)) + metadata + jpeg

    def _make(self, node_id: str) -> None:
        key = self._key(node_id)
        cache = self._engine.cache
        if key in cache:
            if node_id in self._wanted:
                made = cache[key]
                if self._client is not None and isinstance(made, Shown):
                    self._show(node_id, made)
                self._enter(node_id, value=1, most=1, state="finished")
            return
        for source in self._sources(node_id):
            self._make(source)
        self._current = node_id
        self._enter(node_id, value=0.0, most=1.0, state="running")
        self.tell("executing", {"node": node_id, "display_node": node_id, "prompt_id": self._id})
        self._wait(node_id)
        cache[key] = made = self._function(node_id)(self, **self._values(node_id))
        if isinstance(made, Shown):
            self._show(node_id, made)
        most = self._states[node_id]["max"]
        self._enter(node_id, value=most, most=most, state="finished")
        self._executed.append(node_id)

    def _wait(self, node_id: str) -> None:
        class_type = self.prompt[node_id]["class_type"]
        controls = self._engine.controls
        controls.wait_while_held(Held(self._id, node_id, class_type), self._engine.interrupted)
        if self._engine.interrupted.is_set():
            raise Interrupted
        failure = controls.failure_of(class_type)
        if failure:
            raise InjectedFailure(failure)

    def _show(self, node_id: str, made: Shown) -> None:
        self.outputs[node_id] = made.ui
        same = {"node_id": node_id, "display_node": node_id, "real_node_id": node_id}
        self.meta[node_id] = {**same, "parent_node": None}
        told = {"node": node_id, "display_node": node_id, "output": made.ui, "prompt_id": self._id}
        self.tell("executed", told)

    def _enter(self, node_id: str, *, value: float, most: float, state: str) -> None:
        self._states[node_id] = {
            "value": value,
            "max": most,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }
        self._tell_states()

    def _tell_states(self) -> None:
        states = {node_id: dict(state) for node_id, state in self._states.items()}
        self._send(("progress_state", {"prompt_id": self._id, "nodes": states}))

    def _message(self, event: str, **data: object) -> None:
        told = {**data, "prompt_id": self._id, "timestamp": int(time.time() * 1000)}
        self.messages.append([event, told])
        if event == "execution_interrupted" and self._client is None:
            self._engine.sockets.send((event, told))
        self.tell(event, told)

    def _whereabouts(self) -> dict[str, Any]:
        class_type = self.prompt[self._current]["class_type"]
        return {"node_id": self._current, "node_type": class_type, "executed": list(self._executed)}

    def _what_failed(self, error: Exception) -> dict[str, Any]:
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

    def _function(self, node_id: str) -> Callable[..., Made]:
        return NODES[self.prompt[node_id]["class_type"]].run

    def _values(self, node_id: str) -> dict[str, Any]:
        given = self.prompt[node_id]["inputs"]
        declared = NODES[self.prompt[node_id]["class_type"]].inputs_for(given)
        return {
            name: self._made(value) if is_link(value) else value
            for name, value in given.items()
            if name in declared
        }

    def _made(self, link: list[Any]) -> object:
        made = self._engine.cache[self._key(link[0])]
        assert not isinstance(made, Shown)
        return made[link[1]]

    def _sources(self, node_id: str) -> list[str]:
        return [value[0] for value in self.prompt[node_id]["inputs"].values() if is_link(value)]

    def _needs(self, node_id: str) -> set[str]:
        return {node_id}.union(*(self._needs(source) for source in self._sources(node_id)))

    def _key(self, node_id: str) -> str:
        """The same for what would come out the same."""
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
        given = {name: node["inputs"].get(name) for name in declared.own_checks}
        if any(value is None or is_link(value) for value in given.values()):
            return ""
        return declared.fingerprint(self.folders, **given)


def _jpeg(picture: Image.Image) -> bytes:
    made = io.BytesIO()
    size = LARGEST_PREVIEW, LARGEST_PREVIEW
    ImageOps.contain(picture, size, Image.Resampling.BILINEAR).save(made, "JPEG", quality=95)
    return made.getvalue()


def _formatted(value: object) -> object:
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else f"<{type(value).__qualname__} object>"
