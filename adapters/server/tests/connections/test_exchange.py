"""What is on the wire for what an app sends, and for how it fails."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from framegate.core.settings import ServerSettings
from framegate.server.responses.files import send_file
from tests.support.http_stand import serve_app
from tests.support.raw_http import RawResponse, open_socket, read_all

OK = b"HTTP/1.1 200 OK\r\n"
FAILED = (500, b"Internal Server Error")
Send = Callable[[Any], Awaitable[None]]


async def start(send: Send, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def answer(
    _: Any, send: Send, headers: list[tuple[bytes, bytes]], *pieces: bytes, status: int = 200
) -> None:
    await start(send, headers, status)
    for number, piece in enumerate(pieces, start=1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})


async def fail_before_body(_: Any, send: Send) -> None:
    await start(send, [(b"content-length", b"3")])
    raise ValueError("secret")


async def fail_within_body(_: Any, send: Send) -> None:
    await start(send, [(b"content-length", b"4")])
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    raise ValueError("secret")


async def fail_within_stream(_: Any, send: Send) -> None:
    await start(send, [])
    await send({"type": "http.response.body", "body": b"ab", "more_body": True})
    raise ValueError("secret")


async def send_nothing(_: Any, __: Send) -> None:
    return


async def send_body_first(_: Any, send: Send) -> None:
    await send({"type": "http.response.body", "body": b"ab"})


async def send_removed_file(scope: Any, send: Send, *, folder: Path) -> None:
    class Request:
        method, headers = "GET", dict[str, str]()

    async def receive() -> Any:
        raise AssertionError

    path = folder / "film.mp4"
    path.write_bytes(b"film")
    request: Any = Request()
    request.scope = scope
    response: Any = await send_file(request, path, "video/mp4", name="film.mp4")
    path.unlink()
    await response(scope | {"asgi": {"spec_version": "2.4"}}, receive, send)


def app_of(folder: Path) -> Any:
    """Return an app with a path for each way to answer."""
    ok = [(b"content-length", b"2")]
    paths: dict[str, Callable[[Any, Send], Awaitable[None]]] = {
        "/ok": lambda scope, send: answer(scope, send, ok, b"ok"),
        "/pieces": lambda scope, send: answer(scope, send, ok, b"o", b"", b"k"),
        "/stream": lambda scope, send: answer(scope, send, [], b"a", b"", b"bc"),
        "/none": lambda scope, send: answer(scope, send, [], b"", status=204),
        "/close": lambda scope, send: answer(scope, send, [*ok, (b"Connection", b"close")], b"ok"),
        "/short": lambda scope, send: answer(scope, send, [(b"content-length", b"10")], b"abc"),
        "/long": lambda scope, send: answer(scope, send, ok, b"abc"),
        "/late-long": lambda scope, send: answer(scope, send, ok, b"a", b"bc"),
        "/line-break": lambda scope, send: answer(scope, send, [(b"x", b"a\r\nb: c")], b""),
        "/cr": lambda scope, send: answer(scope, send, [(b"x", b"a\rb")], b""),
        "/cr-and-lf": lambda scope, send: answer(scope, send, [(b"x", b"a\rb\nc")], b""),
        "/nul": lambda scope, send: answer(scope, send, [(b"x", b"a\0")], b""),
        "/name": lambda scope, send: answer(scope, send, [(b"x y: z\t", b"a")], b""),
        "/no-name": lambda scope, send: answer(scope, send, [(b"", b"a")], b""),
        "/length": lambda scope, send: answer(scope, send, [(b"content-length", b"+2")], b"ok"),
        "/lengths": lambda scope, send: answer(scope, send, [*ok, (b"Content-Length", b"3")], b"ok"),
        "/not-closed": lambda scope, send: answer(
            scope, send, [(b"connection", b"close"), (b"x", b"\n")], b""
        ),
        "/failing": fail_before_body,
        "/failing-body": fail_within_body,
        "/failing-stream": fail_within_stream,
        "/nothing": send_nothing,
        "/body-first": send_body_first,
        "/removed-file": partial(send_removed_file, folder=folder),
    }

    async def app(scope: Any, _: Any, send: Send) -> None:
        scope["state"] = {}
        await paths[scope["path"]](scope, send)

    return app


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_app(app_of(tmp_path_factory.mktemp("files")), ServerSettings()) as served:
        yield served


def ask(url: str, path: str, *headers: str, method: str = "GET", version: str = "1.1") -> RawResponse:
    """Send a request; unless there are ``headers``, another one follows, which closes the connection."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost", *headers, "", ""]
    with open_socket(url) as client:
        client.sendall("\r\n".join(lines).encode())
        if not headers:
            client.sendall(b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return read_all(client, seconds=5)


def split(received: RawResponse) -> tuple[int, bytes, bytes]:
    """Return the status, the headers in lower case, and whatever follows them."""
    head, _, rest = received.data.partition(b"\r\n\r\n")
    return int(head[9:12]), head.lower() + b"\r\n", rest


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/ok", 200, b"ok"),
        ("GET", "/pieces", 200, b"ok"),
        ("GET", "/stream", 200, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"),
        ("GET", "/none", 204, b""),
        ("HEAD", "/ok", 200, b""),
        ("HEAD", "/stream", 200, b""),
    ],
)
def test_another_request_may_follow(url: str, method: str, path: str, status: int, body: bytes) -> None:
    received = ask(url, path, method=method)
    got, head, rest = split(received)
    assert (got, received.closed, received.count) == (status, True, 2)
    assert b"\r\nconnection:" not in head
    assert (b"\r\ntransfer-encoding: chunked\r\n" in head) == (path == "/stream")
    assert rest.partition(b"HTTP/1.1")[0] == body
    assert rest.endswith(b"\r\n\r\nok")


@pytest.mark.parametrize(("path", "body"), [("/ok", b"ok"), ("/stream", b"abc")])
@pytest.mark.parametrize("keeps", [False, True])
def test_http_1_0(url: str, path: str, body: bytes, *, keeps: bool) -> None:
    received = ask(url, path, "Connection: keep-alive" if keeps else "X: y", version="1.0")
    status, head, rest = split(received)
    assert (status, rest, received.closed) == (200, body, True)
    assert b"\r\nconnection: close\r\n" in head
    assert b"transfer-encoding" not in head


def test_an_app_may_end_the_connection(url: str) -> None:
    received = ask(url, "/close")
    status, head, rest = split(received)
    assert (status, rest, received.closed) == (200, b"ok", True)
    assert head.count(b"\r\nconnection:") == head.count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize(
    "path",
    [
        *("/line-break", "/cr", "/cr-and-lf", "/nul", "/name", "/no-name", "/length", "/lengths"),
        *("/not-closed", "/short", "/long", "/failing", "/nothing", "/body-first", "/removed-file"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_what_fails_before_anything_was_sent_is_a_500(url: str, path: str, version: str) -> None:
    received = ask(url, path, version=version)
    status, head, rest = split(received)
    assert ((status, rest), received.closed) == (FAILED, True)
    assert head.count(b"\r\ncontent-length: 21\r\n") == head.count(b"\r\ncontent-length:") == 1
    assert head.count(b"\r\nconnection: close\r\n") == head.count(b"\r\nconnection:") == 1
    assert b"transfer-encoding" not in head
    assert b"\r\nx" not in head.replace(b"\r\nx-", b"")


@pytest.mark.parametrize(
    ("path", "rest"), [("/failing-body", b"ab"), ("/failing-stream", b"2\r\nab\r\n"), ("/late-long", b"a")]
)
def test_what_fails_later_ends_the_connection_within_the_body(url: str, path: str, rest: bytes) -> None:
    received = ask(url, path)
    assert received.data.startswith(OK)
    assert (split(received)[2], received.closed) == (rest, True)


@pytest.mark.parametrize(
    ("version", "header"), [("1.1", "Connection: close"), ("1.0", "X: y"), ("1.1", "X: y")]
)
@pytest.mark.parametrize("path", ["/ok", "/failing", "/close"])
def test_the_answer_to_an_unread_upload_arrives(url: str, path: str, version: str, header: str) -> None:
    """Closing with unread bytes would reset the connection, and the client would lose the answer."""
    size = 3_000_000
    with open_socket(url) as client:
        client.sendall(
            f"POST {path} HTTP/{version}\r\nHost: a\r\n{header}\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        client.sendall(bytes(size))
        data = b""
        while piece := client.recv(65536):  # a reset raises
            data += piece
    assert data.endswith(FAILED[1] if path == "/failing" else b"ok")
    assert data.count(b"HTTP/1.1 ") == 1


def test_pipelined_requests_do_not_cost_the_last_answer(url: str) -> None:
    request = b"GET /close HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with open_socket(url) as client:
        client.sendall(request * 2000)
        data = b""
        while piece := client.recv(65536):
            data += piece
    assert data.startswith(OK)
    assert data.count(b"HTTP/1.1 ") == 1
