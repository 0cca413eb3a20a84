"""The fake in a process of its own, and what tests do to it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests as http
from msgspec import convert

from tests.support.comfyui.fake_comfyui.controls import HeldNode, ReceivedRequest
from tests.support.ports import free_port
from tests.support.running import PATIENCE, eventually

REPOSITORY = Path(__file__).parents[4]

LTX2_FILES = {
    "checkpoints": "ltx-2-19b-dev-fp8.safetensors",
    "text_encoders": "gemma_3_12B_it_fp4_mixed.safetensors",
    "loras": "ltx-2-19b-distilled-lora-384.safetensors",
    "latent_upscale_models": "ltx-2-spatial-upscaler-x2-1.0.safetensors",
}


class FakeComfyUI:
    """A running fake; the files in ``base`` survive a restart, queue, history and cache don't."""

    def __init__(
        self,
        base: Path,
        *,
        token: str = "",
        newer: bool = False,
        older: bool = False,
        preview_method: str = "",
    ) -> None:
        self.base = base
        base.mkdir(parents=True, exist_ok=True)
        self.log = base / "log.txt"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._arguments = ["--port", str(self.port), "--base", str(base), "--token", token]
        if newer:
            self._arguments.append("--newer")
        if older:
            self._arguments.append("--older")
        if preview_method:
            self._arguments += ["--preview-method", preview_method]
        self.start()

    def start(self, *, hold: str = "") -> None:
        """Start the server, holding prompts before nodes of class ``hold``."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tests.support.comfyui.fake_comfyui",
                    *self._arguments,
                    "--hold",
                    hold,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )
        eventually(self._responds, what="ComfyUI's response")

    def _responds(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return http.get(f"{self.url}/fake/state", timeout=5).ok
        except (http.ConnectionError, http.Timeout):
            return False

    def kill(self) -> None:
        """Kill -9: queue and history are gone, the files stay."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _control(self, action: str, **values: object) -> None:
        http.post(f"{self.url}/fake/{action}", json=values, timeout=60).raise_for_status()

    def hold(self, class_type: str = "*") -> None:
        """Stop before nodes of this class until released (or interrupted)."""
        self._control("hold", class_type=class_type)

    def release(self, class_type: str | None = None) -> None:
        self._control("release", class_type=class_type)

    def wait_until_held(self, class_type: str = "") -> HeldNode:
        """Return the node (of this class) before which a prompt is held."""

        def find() -> HeldNode | None:
            held = self._held()
            return held if held is not None and class_type in {"", held.class_type} else None

        return eventually(find, what="a held node")

    def _held(self) -> HeldNode | None:
        held = self._state()["held"]
        return None if held is None else convert(held, HeldNode)

    def wait_until_followed(self) -> None:
        """Wait until a client is connected to the websocket and has announced its features."""
        eventually(lambda: self._state()["features"], what="a client at the websocket")

    def fail_node(self, class_type: str, exception_type: str, message: str) -> None:
        """Let the next node of this class fail."""
        self._control("fail", class_type=class_type, exception_type=exception_type, message=message)

    def break_requests(self, path: str, *, status: int = 0, times: int = 1, after: bool = False) -> None:
        """Let the next requests to ``path`` get this status, or no response (0).

        ``after``: they are handled first.
        """
        self._control("fault", path=path, status=status, times=times, after=after)

    def delay_requests(self, path: str, *, seconds: float) -> None:
        """Handle the next request to ``path`` only after a while."""
        self._control("fault", path=path, status=0, delay=seconds)

    def drop_sockets(self, *, refuse: bool = False) -> None:
        """Break every websocket; ``refuse`` new ones too."""
        self._control("sockets", refuse=refuse, drop=True)

    def allow_sockets(self) -> None:
        self._control("sockets", refuse=False, drop=False)

    def _state(self) -> Any:
        return http.get(f"{self.url}/fake/state", timeout=60).json()

    def requests(self, path: str = "/", method: str = "") -> list[ReceivedRequest]:
        """Return the requests so far to paths with this prefix (after ``/api``)."""
        found = http.get(f"{self.url}/fake/requests", params={"path": path, "method": method}, timeout=60)
        return convert(found.json(), list[ReceivedRequest])

    def prompts(self) -> list[Mapping[str, Any]]:
        """Return the graphs that were submitted."""
        return [each.body["prompt"] for each in self.requests("/prompt", "POST")]

    def install(self, files: Mapping[str, str]) -> None:
        """Put model files where the loaders look: kind of model → name."""
        for kind, name in files.items():
            folder = self.base / "models" / kind
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
