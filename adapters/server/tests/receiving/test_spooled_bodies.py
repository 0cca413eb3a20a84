"""Large bodies on disk, and the limits on what clients have in flight."""

import gzip
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from framegate.server.receiving.spooled_bodies import SMALL
from tests.support.http_stand import Stand, StandMaker, start_stand
from tests.support.raw_http import open_socket, read_all
from tests.support.running import eventually

MIB = 2**20
KEYS = {
    "alice": "alice-long-secret",
    "bob": "bob-long-secret-too",
    "cid": "cid-long-secret-too",
    "dan": "dan-long-secret-too",
}
OWN_LIMITS = {"cid": 0, "dan": 300_000}
PATHS = {"/v1/tasks/video": "detail", "/v1/videos": "error", "/predict": "error", "/video/submit": "detail"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server whose clients may have 2 MiB in flight each, but for `OWN_LIMITS`."""
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(f"{name.upper()}_KEY", key)
        keys: list[dict[str, Any]] = [{"name": name, "key": {"env": f"{name.upper()}_KEY"}} for name in KEYS]
        for config in keys:
            if config["name"] in OWN_LIMITS:
                config["max_bytes_in_flight"] = OWN_LIMITS[config["name"]]
        yield start_stand(
            running,
            tmp_path_factory.mktemp("guarded"),
            server={"max_body": 8 * MIB},
            limits={"max_bytes_in_flight": 2 * MIB},
            auth={"keys": keys},
        )


def unfinished(stand: Stand, size: int, *, key: str, path: str, kind: str = "application/json") -> Any:
    """Send ``size`` bytes of a body that has one more."""
    client = open_socket(stand.url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Type: {kind}\r\n"
    )
    start = b"--b\r\nContent-Disposition: form-data; name=input_reference; filename=a\r\n\r\n"
    body = (start if "multipart" in kind else b"").ljust(size, b" ")
    client.sendall(f"{head}Content-Length: {size + 1}\r\n\r\n".encode() + body)
    return client


def post(stand: Stand, path: str, size: int, key: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    return requests.post(stand.url + path, data=b'{"x": '.ljust(size), headers=headers, timeout=30)


@contextmanager
def full(stand: Stand, path: str, kind: str = "application/json") -> Generator[requests.Response]:
    """Let alice have so much in flight that a further body is refused; yield that refusal.

    Which of two bodies the server reads first is its own choice, so it may take several attempts.
    """

    def attempt() -> list[tuple[requests.Response, ExitStack]]:
        with ExitStack() as opened:
            opened.enter_context(unfinished(stand, 1_500_000, key=KEYS["alice"], path=path, kind=kind))
            answer = post(stand, path, MIB, KEYS["alice"])
            return [(answer, opened.pop_all())] if answer.status_code == 429 else []

    answer, opened = eventually(attempt, what="the limit", seconds=30)[0]
    with opened:
        yield answer


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_key_has_a_limit_of_bytes_in_flight(guarded: Stand, kind: str) -> None:
    with full(guarded, "/v1/videos", kind) as answer:
        assert int(answer.headers["Retry-After"]) > 0
        assert "in flight" in answer.json()["error"]["message"]
        assert post(guarded, "/v1/videos", MIB, KEYS["bob"]).status_code == 400
        assert post(guarded, "/v1/videos", 1000, KEYS["alice"]).status_code == 400
    eventually(lambda: post(guarded, "/v1/videos", MIB, KEYS["alice"]).status_code == 400, what="room")


def test_a_key_may_have_a_limit_of_its_own(guarded: Stand) -> None:
    def status_beside_another(name: str, other: int, size: int) -> int:
        form = "multipart/form-data; boundary=b"
        with unfinished(guarded, other, key=KEYS[name], path="/v1/videos", kind=form):
            return post(guarded, "/v1/videos", size, KEYS[name]).status_code

    assert status_beside_another("cid", 1_500_000, MIB) == 400, "no limit"
    eventually(lambda: status_beside_another("dan", 200_000, 200_000) == 429, what="the limit")


@pytest.mark.parametrize("path", PATHS)
def test_the_refusal_is_the_dialects_own(guarded: Stand, path: str) -> None:
    with full(guarded, path) as answer:
        assert PATHS[path] in answer.json()


def test_large_bodies_arrive_whole(guarded: Stand) -> None:
    headers = {"Authorization": f"Bearer {KEYS['bob']}", "Content-Type": "application/json"}
    for size in (SMALL - 1, SMALL, SMALL + 1, MIB, 5 * MIB):
        for compress, more in ((bytes, {}), (gzip.compress, {"Content-Encoding": "gzip"})):
            task_id = f"large-{size}-{len(more)}"
            head = f'{{"prompt": "x", "task_id": "{task_id}", "image_path": "'
            body = f'{head}{"A" * (size - len(head) - 2)}"}}'.encode()
            answer = requests.post(
                f"{guarded.url}/v1/tasks/video", data=compress(body), headers={**headers, **more}, timeout=30
            )
            assert answer.status_code == 200, answer.text
            status = requests.get(f"{guarded.url}/v1/tasks/{task_id}/status", headers=headers, timeout=30)
            assert status.status_code == 200


def test_bodies_without_a_length_are_cut_at_the_limit(guarded: Stand) -> None:
    headers = {"Authorization": f"Bearer {KEYS['bob']}", "Content-Type": "application/json"}

    def pieces() -> Iterator[bytes]:
        for _ in range(10):
            yield b" " * MIB

    for path, key in PATHS.items():
        answer = requests.post(guarded.url + path, data=pieces(), headers=headers, timeout=30)
        assert answer.status_code == 413, answer.text
        assert key in answer.json()


def test_bodies_are_unnamed_files_in_the_data_folder(make_stand: StandMaker) -> None:
    stand = make_stand()

    def spooled() -> list[str]:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        targets: list[str] = []
        for link in links:
            try:
                targets.append(str(link.readlink()))
            except OSError:
                continue  # it has just been closed
        return [target for target in targets if target.startswith(str(stand.folder / "uploads"))]

    with unfinished(stand, MIB, key="none", path="/v1/videos"):
        eventually(spooled, what="the file")
        assert list((stand.folder / "uploads").iterdir()) == []
    eventually(lambda: not spooled(), what="its end")
    assert (stand.folder / "uploads").stat().st_mode & 0o077 == 0


def test_a_full_disk_is_said(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    stand = make_stand()
    monkeypatch.setattr("framegate.server.receiving.spooled_bodies.tempfile.TemporaryFile", fail)
    answer = post(stand, "/v1/videos", MIB, "none")
    assert answer.status_code == 503
    assert "full" in answer.json()["error"]["message"]


def test_no_key_no_body(guarded: Stand) -> None:
    for path in (*PATHS, "/v1/chat/completions", "/no/such/path"):
        with unfinished(guarded, 100, key="wrong", path=path) as client:
            answer = read_all(client, seconds=0.2)
        assert answer.status in (401, 404), answer.data
