"""Deadlines and limits of connections, and what becomes of bodies that nobody reads."""

import json
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import requests

from framegate.core.jobs import Job
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, StandMaker, start_stand
from tests.support.raw_http import open_socket, read_all, read_response

CALL = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
KEY = "a-long-enough-secret"
AUTH = {"keys": [{"name": "alice", "key": {"env": "EDGE_KEY"}}]}


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A server with a key, which waits half a second for everything."""
    server = {"header_timeout": 0.5, "body_timeout": 0.5, "write_timeout": 0.5}
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_KEY", KEY)
        yield start_stand(running, tmp_path_factory.mktemp("hasty"), server=server, auth=AUTH)


def head(path: str, *headers: str, key: str = KEY) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


JSON = "Content-Type: application/json"
PATH = "/v1/tasks/video"


def is_cut(client: socket.socket, piece: bytes, *, pause: float) -> bool:
    """Send ``piece`` again and again; return whether the server ends that within half a minute."""
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline:
            client.sendall(piece)
            time.sleep(pause)
    except ConnectionError:
        return True
    return False


def test_half_a_head_is_answered_and_closed(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(CALL[:20])
        answer = read_all(client)
    assert (answer.status, answer.closed) == (408, True)
    assert json.loads(answer.data.partition(b"\r\n\r\n")[2])["code"] == "request_timeout"


def test_a_silent_connection_is_closed_without_an_answer(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        answer = read_all(client)
    assert (answer.data, answer.closed) == (b"", True)


def test_bytes_that_trickle_in_do_not_extend_the_deadline(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(CALL[:-2])
        assert is_cut(client, b"a:b\r\n", pause=0.05)


def test_the_deadline_holds_for_later_requests_too(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(CALL)
        assert read_response(client).status == 200
        time.sleep(1.2)  # idle, which keep_alive limits
        client.sendall(CALL)
        assert read_response(client).status == 200
        client.sendall(CALL[:20])
        answer = read_all(client)
    assert (answer.status, answer.closed) == (408, True)


def test_an_answer_takes_as_long_as_it_takes(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head("/v1/tasks/image/sync", JSON, "Content-Length: 15") + b'{"prompt": "x"}')
        job = hasty.wait_claim()
        time.sleep(1.5)
        hasty.finish(job)
        assert read_response(client).status == 200


@pytest.mark.parametrize("sent", [b"", b'{"prompt"'], ids=["nothing", "a part"])
def test_a_slow_body_gets_the_dialects_408(hasty: Stand, sent: bytes) -> None:
    for path, key in ((PATH, "detail"), ("/v1/videos", "error"), ("/predict", "error")):
        with open_socket(hasty.url) as client:
            client.sendall(head(path, JSON, "Content-Length: 20") + sent)
            answer = read_all(client)
        assert (answer.status, answer.closed) == (408, True)
        body = json.loads(answer.data.partition(b"\r\n\r\n")[2])
        assert key in body
        assert "too slowly" in str(body)


def test_a_slow_form_gets_a_408(hasty: Stand) -> None:
    for kind in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded"):
        with open_socket(hasty.url) as client:
            client.sendall(head("/v1/videos", f"Content-Type: {kind}", "Content-Length: 200") + b"--b\r\n")
            answer = read_all(client)
        assert (answer.status, answer.closed) == (408, True)


def test_a_body_has_to_keep_a_rate(make_stand: StandMaker) -> None:
    stand = make_stand(server={"body_timeout": 0.6, "min_body_rate": 1000})
    with open_socket(stand.url) as client:
        client.sendall(head(PATH, JSON, "Content-Length: 100000"))
        assert is_cut(client, b" " * 10, pause=0.1)


def test_a_slow_but_steady_body_is_accepted(make_stand: StandMaker) -> None:
    stand = make_stand(server={"body_timeout": 2, "min_body_rate": 50})
    body = b'{"prompt": "x"}'.ljust(150)
    with open_socket(stand.url) as client:
        client.sendall(head(PATH, JSON, "Content-Length: 150"))
        for at in range(0, 150, 10):
            client.sendall(body[at : at + 10])
            time.sleep(0.1)
        assert read_response(client).status == 200


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        (PATH, "wrong", 401),
        ("/v1/videos", "wrong", 401),
        ("/v1/chat/completions", "wrong", 401),
        ("/no/such/path", KEY, 404),
        ("/v1/tasks/nowhere/else", KEY, 404),
        ("/health", KEY, 405),
        ("/docs", "wrong", 405),
    ],
)
def test_refused_requests_are_not_asked_for_their_bodies(
    hasty: Stand, path: str, key: str, status: int
) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head(path, JSON, "Content-Length: 50000000", "Expect: 100-continue", key=key))
        answer = read_all(client)
    assert (answer.status, answer.count, answer.closed) == (status, 1, True)


def test_accepted_requests_are_asked_for_their_bodies(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head(PATH, JSON, "Content-Length: 15", "Expect: 100-continue"))
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b'{"prompt": "x"}')
        assert read_response(client).status == 200


def test_a_small_unread_body_keeps_the_connection(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head(PATH, JSON, "Content-Length: 100000", key="wrong"))
        assert read_response(client).status == 401
        client.sendall(b"x" * 100_000 + CALL)
        assert read_response(client).status == 200
        client.sendall(CALL)
        assert read_response(client).status == 200


def test_a_large_unread_body_ends_the_connection_after_its_answer(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head(PATH, JSON, "Content-Length: 90000000", key="wrong"))
        for _ in range(40):  # less than the kernel would hold for a server that doesn't read
            client.sendall(b"x" * 1_000_000)
        answer = read_all(client)
    assert (answer.status, answer.count, answer.closed) == (401, 1, True)


def test_an_unread_body_is_not_drained_for_ever(hasty: Stand) -> None:
    with open_socket(hasty.url) as client:
        client.sendall(head(PATH, JSON, "Transfer-Encoding: chunked", key="wrong"))
        assert is_cut(client, b"1000\r\n" + b"x" * 4096 + b"\r\n", pause=0.0001)


@contextmanager
def half_open(stand: Stand, count: int) -> Generator[list[socket.socket]]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(open_socket(stand.url)) for _ in range(count)]
        for client in sockets:
            client.sendall(CALL[:20])
        yield sockets


def test_half_open_connections_make_room(make_stand: StandMaker) -> None:
    stand = make_stand(server={"max_connections": 20})
    with requests.Session() as session, half_open(stand, 15) as older:
        assert session.get(f"{stand.url}/health", timeout=10).status_code == 200
        with half_open(stand, 15) as newer:
            for _ in range(30):
                assert requests.get(f"{stand.url}/health", timeout=10).status_code == 200
            assert read_all(older[0], seconds=10).closed
            newer[-1].sendall(CALL[20:])
            assert read_response(newer[-1]).status == 200


def test_connections_at_work_are_not_replaced(make_stand: StandMaker) -> None:
    stand = make_stand(server={"max_connections": 5})
    request = head("/v1/tasks/image/sync", JSON, "Content-Length: 15") + b'{"prompt": "x"}'
    with ExitStack() as opened:
        clients = [opened.enter_context(open_socket(stand.url)) for _ in range(5)]
        jobs: list[Job] = []
        for client in clients:
            client.sendall(request)
            jobs.append(stand.wait_claim())
        refused = requests.get(f"{stand.url}/health", timeout=10)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert refused.json()["code"] == "too_many_connections"
        for job in jobs:
            stand.finish(job)
        for client in clients:
            assert read_response(client).status == 200
    assert requests.get(f"{stand.url}/health", timeout=10).status_code == 200


def test_a_client_that_takes_nothing_is_cut(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = make_stand(server={"write_timeout": 0.5})
    monkeypatch.setitem(CONTENT, MediaKind.VIDEO, CONTENT[MediaKind.VIDEO].ljust(30_000_000, b"\0"))
    requests.post(stand.url + PATH, json={"prompt": "x", "task_id": "big"}, timeout=10)
    stand.run_next()
    call = head("/v1/tasks/big/result").replace(b"POST", b"GET")
    with open_socket(stand.url) as client:
        client.sendall(call)
        time.sleep(1.5)
        answer = read_all(client)
    assert answer.closed
    assert 0 < len(answer.data) < 30_000_000
    with open_socket(stand.url) as client:  # a slow one gets it all
        client.sendall(call)
        received = 0
        while received < 30_000_000:
            received += len(client.recv(1_000_000))
            time.sleep(0.01)
