"""Servers that waste the fetcher's time: floods around the content, bodies that trickle, names that hang."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from framegate.core.errors import Busy, InvalidMedia
from framegate.media.network import fetch as fetching
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.fetch import UrlFetcher
from framegate.media.network.lookups import HostLookups
from framegate.media.network.upload import UploadError, UrlUploader
from tests.support.fetching import fetch_content

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = ("127.0.0.1",)
MAX_BYTES = 8 << 20


class Host:
    """A server on loopback that handles each connection by ``serve``."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self.url = ""
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Host":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.create_task(self._handle(reader, writer)))

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def flooding(head: bytes, flood: bytes, limit: int = 64 << 20) -> tuple[Serve, list[int]]:
    """Return what sends ``head`` and then ``flood`` again and again, and the list of the bytes it sent."""
    sent: list[int] = []
    block = flood * (65536 // len(flood))

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What counts is what the client takes, not what the kernel holds for it, which may be megabytes.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        writer.write(head)
        while sum(sent) < limit:
            writer.write(block)
            await writer.drain()
            sent.append(len(block))

    return serve, sent


class Pauses:
    """Measure for how long the event loop did nothing else."""

    async def __aenter__(self) -> "Pauses":
        self.longest = 0.0
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            before = time.process_time()
            await asyncio.sleep(0.001)
            self.longest = max(self.longest, time.process_time() - before)


OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("head", "flood"),
    [
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="100"),
        pytest.param(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", id="103"),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 64, id="one header"),
        pytest.param(OK + b"\r\n", b"1\r\na\r\n", id="chunks of one byte"),
        pytest.param(OK + b"\r\n", b"14\r\n" + b"a" * 20 + b"\r\n", id="chunks of twenty bytes"),
        pytest.param(OK + b"\r\n", b"1;" + b"x" * 60 + b"\r\na\r\n", id="chunk extensions"),
        pytest.param(OK + b"\r\n4\r\nabcd\r\n0\r\n", b"A: b\r\n", id="trailers"),
        pytest.param(b"\r\n" * 100, b"\r\n", id="blank lines"),
    ],
)
async def test_floods_end_early_and_let_others_work(head: bytes, flood: bytes) -> None:
    serve, sent = flooding(head, flood)
    async with Host(serve) as host, Pauses() as pauses:
        fetcher = UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES)
        before = time.process_time()
        with pytest.raises(InvalidMedia, match=r"could not be fetched|closed before"):
            await fetch_content(fetcher, host.url)
        used = time.process_time() - before
    assert sum(sent) < 8 << 20
    assert used < 1.5
    assert pauses.longest < 0.25


async def test_a_flood_is_named() -> None:
    serve, _ = flooding(OK + b"\r\n", b"1\r\na\r\n")
    async with Host(serve) as host:
        with pytest.raises(InvalidMedia, match="far more around the file than the file"):
            await fetch_content(UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES), host.url)


async def test_interim_responses_and_small_chunks_are_fine() -> None:
    content = bytes(range(256)) * 4096

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 5)
        writer.write(OK + b"\r\n")
        for start in range(0, len(content), 256):
            writer.write(b"100\r\n" + content[start : start + 256] + b"\r\n")
            if start % 65536 == 0:
                await writer.drain()
        writer.write(b"0\r\nA-Trailer: b\r\n\r\n")
        await writer.drain()

    async with Host(serve) as host:
        assert await fetch_content(UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES), host.url) == content


async def test_a_large_file_in_one_go_is_fine() -> None:
    """Its head and as much of its body as the socket takes may arrive at once."""
    content = b"HTTP/1." * (4 << 17)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content))
        await asyncio.sleep(0)
        writer.write(b"\0" + content[1:])
        await writer.drain()

    async with Host(serve) as host:
        for _ in range(3):
            assert (await fetch_content(UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES), host.url))[1:] == content[
                1:
            ]


async def test_bodies_that_trickle_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the time limit of the whole fetch, which may be hours."""
    monkeypatch.setattr(fetching, "RATE_SECONDS", 0.5)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with Host(serve) as host:
        with pytest.raises(InvalidMedia, match="sends less than 1024 bytes a second"):
            await fetch_content(UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES, timeout=3600), host.url)


async def test_slow_bodies_above_the_minimum_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "RATE_SECONDS", 2.0)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n")
        for _part in range(30):
            writer.write(bytes(2000))
            await writer.drain()
            await asyncio.sleep(0.1)

    async with Host(serve) as host:
        assert len(await fetch_content(UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES), host.url)) == 60_000


async def test_a_body_that_arrives_is_on_disk(tmp_path: Path) -> None:
    """What twenty slow servers send is not held in memory, and leaves nothing behind."""
    arrived, go_on = asyncio.Event(), asyncio.Event()
    half = bytes(3 << 20)

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * len(half)) + half)
        await writer.drain()
        arrived.set()
        await go_on.wait()
        writer.write(half)
        await writer.drain()

    async with Host(serve) as host:
        target = tmp_path / "file"
        fetcher = UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES)
        task = asyncio.create_task(fetcher.download(host.url, target))
        await arrived.wait()
        while not target.exists() or target.stat().st_size < 2 << 20:
            assert not task.done()
            await asyncio.sleep(0.01)
        go_on.set()
        assert await task == target.stat().st_size == 2 * len(half)


async def test_one_owner_does_not_hold_all_fetches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's slow URLs fill its own share; another key's is fetched at once."""
    waiting, all_wait = 0, asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == fetching.MAX_FETCHES_PER_OWNER:
            all_wait.set()
        await asyncio.sleep(3600)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with Host(serve) as slow, Host(answer) as quick:
        fetcher = UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES, timeout=30)
        tasks = [asyncio.create_task(fetch_content(fetcher, slow.url, owner="mallory")) for _ in range(200)]
        await all_wait.wait()
        assert await fetch_content(fetcher, quick.url, owner="alice") == b"ok"
        assert waiting == fetching.MAX_FETCHES_PER_OWNER
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert await fetch_content(fetcher, quick.url, owner="mallory") == b"ok", "the share is free again"


async def test_who_waits_too_long_is_told_to_come_back() -> None:
    fetcher = UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES, timeout=0.2)
    for _ in range(fetching.MAX_FETCHES_PER_OWNER):
        await fetcher._slots.acquire("mallory")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Busy, match="Too many files are being fetched"):
        await fetch_content(fetcher, "http://127.0.0.1:1/", owner="mallory")


@pytest.fixture
def hanging_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A name server that answers for ``*.slow.example`` only after the test."""
    real, over = socket.getaddrinfo, threading.Event()
    asked: list[str] = []

    def getaddrinfo(host: str, *args: Any, **kwargs: Any) -> Any:
        if not host.endswith("slow.example"):
            return real(host, *args, **kwargs)
        asked.append(host)
        over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()


async def test_names_that_hang_hold_up_neither_threads_nor_other_owners(hanging_names: list[str]) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    fetcher = UrlFetcher(LOOPBACK, max_bytes=MAX_BYTES, timeout=20)
    tasks = [
        asyncio.create_task(fetch_content(fetcher, f"http://{number}.slow.example/", owner="mallory"))
        for number in range(100)
    ]
    while len(hanging_names) < fetching.MAX_FETCHES_PER_OWNER:  # noqa: ASYNC110  # threads fill it
        await asyncio.sleep(0.01)
    async with Host(answer) as host:
        started = time.monotonic()
        url = host.url.replace("127.0.0.1", "localhost")
        assert await fetch_content(UrlFetcher(["localhost"], max_bytes=MAX_BYTES), url) == b"ok"
        assert await fetch_content(fetcher, host.url, owner="alice") == b"ok"
        await asyncio.to_thread(lambda: None)
        assert time.monotonic() - started < 15, "nothing waits for the names"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_lookups_that_were_given_up_still_count(hanging_names: list[str]) -> None:
    """Their threads live on; a patient client can't pile them up."""
    lookups = HostLookups(total=8, per_owner=2)
    for _ in range(3):
        for number in range(4):
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await lookups.find(f"{number}.slow.example", 80, owner="mallory")
    assert len(hanging_names) == 2
    assert await lookups.find("localhost", 80, owner="alice")


async def test_uploads_and_their_checks_share_no_threads_with_fetches(hanging_names: list[str]) -> None:
    uploader = UrlUploader(DialPolicy(LOOPBACK), timeout=0.3, attempts=1)
    with pytest.raises(UploadError, match="no response within"):
        await uploader.put("http://a.slow.example/", b"x", "image/png")
    assert hanging_names == ["a.slow.example"]
    await asyncio.to_thread(lambda: None)


async def test_receivers_that_flood_end_an_upload() -> None:
    serve, sent = flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    async with Host(serve) as host:
        with pytest.raises(UploadError):
            await UrlUploader(DialPolicy(LOOPBACK), attempts=1).put(host.url, b"x", "image/png")
    assert sum(sent) < 8 << 20
