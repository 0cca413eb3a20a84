"""The queue of prompts."""

import threading
from typing import Any

from tests.support.comfyui.fake_comfyui.controls import Controls
from tests.support.comfyui.fake_comfyui.folders import Folders
from tests.support.comfyui.fake_comfyui.nodes.declaration import NodeResult
from tests.support.comfyui.fake_comfyui.prompt_run import PromptRun, QueueItem
from tests.support.comfyui.fake_comfyui.sockets import Sockets


class PromptQueue:
    """The queue, the thread that runs its prompts one by one, their history and the cache.

    ``preview_method`` is the server's flag. An ``older`` server ignores what prompts and clients say about
    previews.
    """

    def __init__(
        self, folders: Folders, sockets: Sockets, controls: Controls, *, preview_method: str, older: bool
    ) -> None:
        self.preview_method = preview_method
        self.older = older
        self.folders = folders
        self.sockets = sockets
        self.controls = controls
        self.history: dict[str, dict[str, Any]] = {}
        self.cache: dict[str, NodeResult] = {}
        self.interrupted = threading.Event()
        self._pending: list[QueueItem] = []
        self._running: QueueItem | None = None
        self._changed = threading.Condition()

    def start(self) -> None:
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, item: QueueItem) -> None:
        with self._changed:
            self._pending.append(item)
            self._pending.sort(key=lambda each: float(each[0]))
            self._send_status()
            self._changed.notify()

    def queue(self) -> tuple[list[QueueItem], list[QueueItem]]:
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
            self._send_status()
        return deleted

    def clear(self) -> None:
        with self._changed:
            self._pending = []
            self._send_status()

    def interrupt(self, prompt_id: str | None) -> bool:
        """Interrupt the running prompt, if it is this one (None: any)."""
        with self._changed:
            found = self._running is not None and prompt_id in {None, self._running[1]}
            if found:
                self.interrupted.set()
        self.controls.wake()
        return found

    def _send_status(self) -> None:
        running = 0 if self._running is None else 1
        status = {"status": {"exec_info": {"queue_remaining": len(self._pending) + running}}}
        self.sockets.send(("status", status))

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    self._changed.wait()
                self._running = item = self._pending.pop(0)
                self.interrupted.clear()
                self._send_status()
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
                self._send_status()
            run.send_to_client("executing", {"node": None, "prompt_id": item[1]})
