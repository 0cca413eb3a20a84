"""What streams of the APIs say while nothing happens: something that their clients ignore or show."""

import functools
import json
from typing import Any

import pytest

from framegate.server.responses.sse import EventStream
from tests.support.http_stand import Stand
from tests.support.raw_http import open_socket

MESSAGES = [{"role": "user", "content": "a boat"}]
TOOLS = [{"type": "image_generation"}]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    patient = EventStream.__init__
    monkeypatch.setattr(EventStream, "__init__", functools.partialmethod(patient, seconds=0.02))


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (
            "/v1/chat/completions",
            {"model": "preview", "messages": MESSAGES},
            rb'"reasoning_content":"Still working...\n"',
        ),
        ("/v1/images/generations", {"prompt": "a boat"}, b": working\n\n"),
        ("/v1/responses", {"input": "a boat", "tools": TOOLS}, b": working\n\n"),
    ],
)
def test_each_api_has_its_own(shared_stand: Stand, path: str, body: dict[str, Any], expected: bytes) -> None:
    data, text = json.dumps({**body, "stream": True}).encode(), b""
    with open_socket(shared_stand.url) as client:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        client.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        while text.count(expected) < 4:
            piece = client.recv(65536)
            assert piece, text
            text += piece
            assert text.startswith(b"HTTP/1.1 200")
            assert b": waiting" not in text, "what a stream says that has nothing of its own"
