"""A hub on loopback: the routes of the Hugging Face hub that huggingface_hub 2.4 downloads through.

Files from `LARGE` bytes on are in large-file storage, where the hub knows their SHA-256, as are all weights.
"""

import hashlib
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.support.quiet_handler import Quiet

TOKEN = "hf_right"
LARGE = 4096


class FakeRepository:
    """A repository with the branch ``main``, at first of one commit.

    ``corrupt`` counts down the answers in which the bytes of a file are wrong, by its name; ``break_after``
    are the bytes after which the connection breaks, once. ``stall_after`` are those after which nothing comes
    any more; ``claimed_sizes`` and ``claimed_digests`` are bytes and a SHA-256 that files are said to have.
    """

    def __init__(self, files: Mapping[str, bytes], *, private: bool = False, gated: bool = False) -> None:
        self.history: dict[str, dict[str, bytes]] = {}
        self.push(files)
        self.private, self.gated = private, gated
        self.corrupt: dict[str, int] = {}
        self.break_after: dict[str, int] = {}
        self.stall_after: dict[str, int] = {}
        self.claimed_sizes: dict[str, int] = {}
        self.claimed_digests: dict[str, str] = {}

    def push(self, files: Mapping[str, bytes]) -> None:
        """Let the branch have these files, in a new commit."""
        text = repr((len(self.history), sorted(files)))
        self.commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.files = self.history[self.commit] = dict(files)

    @classmethod
    def of(cls, folder: Path, **kind: bool) -> "FakeRepository":
        """Return a repository with the files below ``folder``."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return cls(files, **kind)

    def is_large(self, name: str) -> bool:
        return len(self.files[name]) >= LARGE or name.endswith(".safetensors")

    def etag(self, name: str, content: bytes) -> str:
        if self.is_large(name):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class FakeHub:
    """The hub at ``url``. ``served`` are the names and first bytes of the files that were sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.repositories: dict[str, FakeRepository] = {}
        self.served: list[tuple[str, int]] = []
        self.stalled = threading.Event()
        self.stopping = threading.Event()


@contextmanager
def running_hub() -> Generator[FakeHub]:
    """Serve a hub without repositories."""

    class Handler(Quiet, BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with suppress(ConnectionError):  # who has enough leaves
                super().handle()

        def finish(self) -> None:
            with suppress(ConnectionError):
                super().finish()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            if parts[:2] == ["api", "models"]:
                self._answer_api("/".join(parts[2:4]), parts[4:])
            elif parts[2:3] == ["resolve"]:
                self._answer_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self._refuse(404, "")

        def _find(self, name: str, revision: str) -> FakeRepository | None:
            found = hub.repositories.get(name)
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if found is None or (found.private and not allowed):
                self._refuse(401, "RepoNotFound")
            elif found.gated and not allowed:
                self._refuse(403, "GatedRepo")
            elif revision not in ("main", *found.history):
                self._refuse(404, "RevisionNotFound")
            else:
                return found
            return None

        def _answer_api(self, name: str, rest: list[str]) -> None:
            repository = self._find(name, rest[1] if len(rest) > 1 else "main")
            if repository is None:
                return
            if rest[:1] == ["tree"]:
                self._send(
                    json.dumps([_entry(repository, file) for file in sorted(repository.files)]).encode()
                )
            else:
                siblings = [{"rfilename": file} for file in sorted(repository.files)]
                info = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings}
                self._send(json.dumps({**info, "private": repository.private}).encode())

        def _answer_file(self, name: str, revision: str, file: str) -> None:
            repository = self._find(name, revision)
            if repository is None:
                return
            commit = repository.commit if revision == "main" else revision
            content = repository.history[commit].get(file)
            if content is None:
                self._refuse(404, "EntryNotFound")
                return
            first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if "Range" in self.headers else 200)
            etag = repository.etag(file, content)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", commit)
            if repository.is_large(file):
                self.send_header("X-Linked-ETag", f'"{etag}"')
                self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - first))
            self.end_headers()
            if self.command == "GET":
                hub.served.append((f"{name}/{file}", first))
                self._write(repository, file, content, first)

        def _write(self, repository: FakeRepository, file: str, content: bytes, first: int) -> None:
            if repository.corrupt.get(file, 0) > 0:
                repository.corrupt[file] -= 1
                content = content[:-1] + bytes([content[-1] ^ 1])
            if (last := repository.break_after.pop(file, None)) is not None:
                self.wfile.write(content[first:last])
                self.close_connection = True
            elif (last := repository.stall_after.pop(file, None)) is not None:
                self.wfile.write(content[first:last])
                self.wfile.flush()
                hub.stalled.set()
                hub.stopping.wait()
                self.close_connection = True
            else:
                self.wfile.write(content[first:])

        def _send(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub = FakeHub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _entry(repository: FakeRepository, name: str) -> dict[str, Any]:
    content = repository.files[name]
    size = repository.claimed_sizes.get(name, len(content))
    entry: dict[str, Any] = {"type": "file", "path": name, "size": size}
    if not repository.is_large(name):
        return {**entry, "oid": repository.etag(name, content)}
    digest = repository.claimed_digests.get(name, repository.etag(name, content))
    lfs = {"oid": digest, "size": size, "pointerSize": 134}
    return {**entry, "oid": "0" * 40, "lfs": lfs}
