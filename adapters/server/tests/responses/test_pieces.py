"""The pieces in which files are sent."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from litestar.types import Message

from framegate.server.responses import paced_files
from framegate.server.responses.files import send_file
from framegate.server.responses.paced_files import PieceMemory

SMALL, LARGE = 64 * 1024, 256 * 1024
FILM = b"".join(number.to_bytes(4, "big") for number in range(3 * 2**18 + 1))


class Requested:
    """A GET of a file, from a client that takes ``seconds`` for each piece.

    After ``stalls_after`` pieces it ``stalls`` until it ``goes_on``.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        headers: Mapping[str, str] | None = None,
        *,
        seconds: float,
        stalls_after: int = 1000,
    ) -> None:
        self.method, self.headers = "GET", headers or {}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "headers": [(name.encode(), value.encode()) for name, value in self.headers.items()],
            "asgi": {"spec_version": "2.4"},
        }
        self.pieces: list[bytes] = []
        self.status = 0
        self.stalls, self.goes_on = asyncio.Event(), asyncio.Event()
        self._stalls_after = stalls_after
        self._seconds = seconds
        self._now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self._now)

    async def get(self, path: Path) -> None:
        request: Any = self
        response = await send_file(request, path, "video/mp4", name="a.mp4")
        await response(request.scope, self._receive, self._send)

    async def _receive(self) -> Any:
        raise AssertionError("nothing more is read of the request")

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.pieces.append(message["body"])
            if len(self.pieces) > self._stalls_after:
                self.stalls.set()
                await self.goes_on.wait()
            self._now += self._seconds


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(FILM)
    return path


@pytest.mark.parametrize(("headers", "first"), [({}, 0), ({"range": "bytes=1000-"}, 1000)])
async def test_a_fast_client_gets_large_pieces(
    monkeypatch: pytest.MonkeyPatch, film: Path, headers: dict[str, str], first: int
) -> None:
    request = Requested(monkeypatch, headers, seconds=0.001)
    await request.get(film)
    assert request.status == (206 if first else 200)
    assert b"".join(request.pieces) == FILM[first:]
    sizes = [len(piece) for piece in request.pieces if piece]
    assert sizes[0] <= 2 * SMALL
    assert max(sizes) == LARGE
    assert sizes[2:-1] == [LARGE] * (len(sizes) - 3)


async def test_a_slow_client_holds_small_pieces(monkeypatch: pytest.MonkeyPatch, film: Path) -> None:
    request = Requested(monkeypatch, seconds=0.5)
    await request.get(film)
    assert b"".join(request.pieces) == FILM
    assert {len(piece) for piece in request.pieces[1:-1]} == {SMALL}


async def test_clients_that_stall_hold_little_memory_together(
    monkeypatch: pytest.MonkeyPatch, film: Path
) -> None:
    memory = 20 * SMALL
    monkeypatch.setattr(paced_files, "PIECE_MEMORY", PieceMemory(memory))
    clients = [Requested(monkeypatch, seconds=0.001, stalls_after=5) for _ in range(20)]
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client.get(film))
            await client.stalls.wait()
        above = [len(client.pieces[-1]) - SMALL for client in clients]
        assert 0 < 2 * sum(above) <= memory
        for client in clients:
            client.goes_on.set()
    assert all(b"".join(client.pieces) == FILM for client in clients)
    last = Requested(monkeypatch, seconds=0.001)
    await last.get(film)
    assert max(map(len, last.pieces)) == LARGE


@pytest.mark.parametrize("size", [SMALL, 7 * SMALL + 1, 7 * SMALL])
async def test_the_memory_is_taken_until_the_client_has_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    """When it is asked to take the last piece, a connection may still hold the one before."""
    path = tmp_path / "short.mp4"
    path.write_bytes(FILM[:size])
    request = Requested(monkeypatch, seconds=0.001)
    await request.get(path)
    assert b"".join(request.pieces) == FILM[:size]
    assert len(request.pieces[-1]) <= SMALL
