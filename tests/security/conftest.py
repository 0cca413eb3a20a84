"""The servers under attack, and what the owner's key has on them."""

import base64
import hashlib
import os
import socket
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import pytest
import requests

from tests.security.case import OWNER, STRANGER, Case, RawCase, error_of
from tests.security.listener import RESOLVER, Listener, hostile_pictures
from tests.support.attacking import media
from tests.support.attacking.memory import api_processes
from tests.support.running import RunningServer, eventually

KEYS = {OWNER: "alice-51c7a1d0e6f94b7a", STRANGER: "mallory-9f0b6c2d8e1a4753"}
CONFIG = """
[fetch]
allow = ["pictures.test"]
timeout = 3.0

[aliases.small]
model = "sora2-landscape-10s"
defaults = { width = 64, height = 64, duration = 0.5, num_inference_steps = 1 }

[aliases.tiny-image]
model = "gpt-image"
defaults = { width = 64, height = 64, num_inference_steps = 1 }

[aliases.sora-2]
model = "sora-2"
defaults = { width = 64, height = 64, duration = 0.5, num_inference_steps = 1 }
""" + "".join(f'[[auth.keys]]\nname = "{name}"\nkey = {{ env = "{name.upper()}_KEY" }}\n' for name in KEYS)
MEMORY = 200_000_000
"""Bytes by which a case may let the API's processes grow."""
LEAKS = ("Traceback (most recent call last)", "/site-packages/", "/usr/lib/python", "root:x:0:0")


class Fortress:
    """A server, the listener that none of its connections may reach, and the owner's belongings."""

    def __init__(self, server: RunningServer, listener: Listener, pictures: int) -> None:
        self.server = server
        self.listener = listener
        self.values: dict[str, Any] = {
            "port": listener.port,
            "pictures": pictures,
            "host": server.url.removeprefix("http://"),
            "image": base64.b64encode(media.png()).decode(),
            "key": KEYS[OWNER],
            "beginning": KEYS[OWNER][:-1],
            "digest": hashlib.sha256(KEYS[OWNER].encode()).hexdigest(),
        }
        self._secrets = (*KEYS.values(), str(server.data_dir), str(os.environ.get("HOME")))

    def request(self, case: Case) -> requests.Response:
        """Send a case's request, byte for byte where the path is concerned."""
        headers = {name: self._filled(value) for name, value in case.headers.items()}
        if case.key:
            headers.setdefault("Authorization", f"Bearer {KEYS[case.key]}")
        request = requests.Request(
            case.method,
            self.server.url,
            headers={name: value.encode("latin-1") for name, value in headers.items()},
            json=self._filled(case.json),
            data=self._filled(case.data) if callable(case.data) else case.data,
            files=case.files
            and {field: (name, self._filled(data), kind) for field, (name, data, kind) in case.files.items()},
        ).prepare()
        request.url = self.server.url + str(self._filled(case.path))
        with requests.Session() as session:
            return session.send(request, timeout=60, allow_redirects=False)

    def check(self, case: Case) -> requests.Response:
        """Run a case, and hold the answer and the server to what the case says."""
        before, resident = self.listener.connections, self.resident()
        answer = self.request(case)
        assert answer.status_code in case.expect, f"{answer.status_code}: {answer.text[:500]}"
        if answer.status_code >= 400 and case.method != "HEAD":
            error_of(case.shape, answer.json() if case.shape.value != "any" else None)
        assert case.says in answer.text
        assert not case.lacks or self._filled(case.lacks) not in answer.text
        self.hold(answer.text[:2_000_000], before, resident)
        return answer

    def hold(self, text: str, connections: int, resident: int) -> None:
        """Check what must not have happened."""
        assert not [leak for leak in (*LEAKS, *self._secrets) if leak in text], text[:1000]
        assert self.listener.connections == connections, "a connection was made"
        assert self.resident() - resident < MEMORY, "it took too much memory"

    def check_raw(self, case: RawCase) -> None:
        """Send a raw case's bytes, and read until the server hangs up or has nothing more to say."""
        before, resident = self.listener.connections, self.resident()
        received = self.exchange(self._filled(case.send), first=10.0 if case.expect else 0.5)
        statuses = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]
        assert len(statuses) <= case.answers, received[:1000]
        if case.expect:
            assert statuses, received[:1000]
            assert statuses[0] in case.expect, received[:1000]
        self.hold(received.decode("latin-1"), before, resident)

    def exchange(self, data: bytes, *, first: float = 10.0, then: float = 0.1) -> bytes:
        """Send bytes, and return the answer until the connection is closed, or silent for some seconds."""
        received = bytearray()
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=10) as connection:
            try:
                connection.sendall(data)
                connection.settimeout(first)
                while chunk := connection.recv(65_536):
                    received += chunk
                    connection.settimeout(then)
            except (TimeoutError, OSError):
                pass
        return bytes(received)

    def check_log(self) -> None:
        """Check that the whole log has no traceback, no key, no path of the code and no control character."""
        for line in self.server.log_text().splitlines():
            leaks = [leak for leak in (*LEAKS, *KEYS.values()) if leak in line]
            assert not leaks, line[-2000:]
            assert line.isprintable(), ascii(line)

    def resident(self) -> int:
        """Return the bytes of memory of the API's process and its children."""
        return sum(process.memory_info().rss for process in api_processes(self.server.process.pid))

    def _filled(self, value: Any) -> Any:
        """Put the values in place of their names; other braces stay as they are."""
        if callable(value):
            value = value()
        if isinstance(value, str):
            for name, known in self.values.items() if "{" in value[:100_000] else ():
                value = value.replace("{" + name + "}", str(known))
            return value
        if isinstance(value, bytes) and len(value) < 10_000:
            for name in ("port", "host"):
                value = value.replace(b"{%s}" % name.encode(), str(self.values[name]).encode())
            return value
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType] # plain JSON
            return [self._filled(each) for each in items]
        if isinstance(value, Mapping):
            return {name: self._filled(each) for name, each in cast(Mapping[str, Any], value).items()}
        return value

    def as_owner(self, method: str, path: str, **arguments: Any) -> Any:
        """Send a request with the owner's key that succeeds, and return its JSON."""
        answer = requests.request(
            method,
            self.server.url + path,
            headers={"Authorization": f"Bearer {KEYS[OWNER]}"},
            timeout=60,
            **arguments,
        )
        assert answer.status_code < 300, answer.text
        return answer.json()

    def furnish(self) -> None:
        """Let the owner have a finished job in each dialect, and a character."""
        small = {"width": 64, "height": 64}
        made: dict[str, Any] = {}
        made["video"] = self.as_owner("POST", "/v1/videos", json={"prompt": "mine"})["id"]
        made["task"] = self.as_owner("POST", "/v1/tasks/image", json={"prompt": "mine", **small})["task_id"]
        self.as_owner(
            "POST",
            "/v1/tasks/image",
            json={"prompt": "mine", "task_id": "alices-own", "save_result_path": "chosen-name.png", **small},
        )
        made["own_task"] = "alices-own"
        made["request"] = self.as_owner(
            "POST", "/video/submit", json={"prompt": "A cat of mine", "model": "small"}
        )["requestId"]
        made["sora_task"] = self.as_owner(
            "POST", "/v1/videos/generate", json={"prompt": "mine", "model": "small", "async_mode": True}
        )["task_id"]
        made["character"] = self.as_owner(
            "POST",
            "/v1/videos/characters",
            data={"name": "Mine"},
            files={"video": ("v.mp4", media.static_video(64, 16, 16), "video/mp4")},
        )["id"]
        self.values |= made
        self.values["share"] = eventually(self._share_id, what="the owner's video")
        eventually(
            lambda: self.as_owner("GET", f"/v1/videos/{made['video']}")["status"] == "completed",
            what="the owner's other video",
        )
        eventually(
            lambda: self.as_owner("GET", "/v1/tasks/alices-own/status")["file_path"], what="the owner's task"
        )

    def _share_id(self) -> str | None:
        share: str | None = self.as_owner("GET", f"/v1/tasks/{self.values['sora_task']}")["remix_target_id"]
        return share


@contextmanager
def running_fortress(
    tmp_path_factory: pytest.TempPathFactory, config: str, *, ready: str = "/status", **options: Any
) -> Generator[Fortress]:
    """Run a server whose name server is the attacker's."""
    folder = tmp_path_factory.mktemp("fortress")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(RESOLVER)
    environ = {
        **{f"{name.upper()}_KEY": key for name, key in KEYS.items()},
        "PYTHONPATH": os.pathsep.join(filter(None, [str(folder / "site"), os.environ.get("PYTHONPATH")])),
    }
    listener = Listener()
    running = RunningServer(folder / "data", config=config, environ=environ, **options)
    try:
        with hostile_pictures() as pictures:
            yield Fortress(running.wait_until_ready(ready), listener, pictures)
        assert running.stop() == 0, running.log_text()
    finally:
        running.process.kill()
        listener.close()


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fortress]:
    """A server with two keys; the owner has something in each dialect."""
    with running_fortress(tmp_path_factory, CONFIG) as running:
        running.furnish()
        yield running
