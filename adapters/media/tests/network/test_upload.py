"""Uploads to URLs of requests: what is sent, what is tried again, and what is never dialled."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

import pytest
from aiohttp import web

from framegate.media.network.addresses import DialPolicy
from framegate.media.network.upload import UploadError, UrlUploader

SIGNED = "/b%2Fucket/a+b%20c;d=e/%7Ekey.png?X-Sig=a%2Fb%2Bc==&X=%E7%8C%AB&empty=&q='(x)'"
SILENCE = 0
DATA = b"\x89PNG picture" * 1000


class Bucket:
    """Keeps the requests that it gets, and answers with the next of ``statuses``, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.puts: list[tuple[str, str, bytes]] = []
        self.agents: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.puts.append((request.raw_path, request.headers["Content-Type"], body))
        self.agents.append(request.headers["User-Agent"])
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == SILENCE:
            await asyncio.Event().wait()
        return web.Response(status=status, headers={"Location": f"{self.url}/elsewhere"})


@asynccontextmanager
async def bucket(*statuses: int) -> AsyncGenerator[Bucket]:
    served = Bucket(*statuses)
    app = web.Application(client_max_size=2**22)
    app.router.add_put("/{path:.*}", served.take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


def uploader(*, allow: tuple[str, ...] = ("127.0.0.1",), timeout: float = 20.0) -> UrlUploader:
    return UrlUploader(DialPolicy(allow), timeout=timeout, delay=0.001)


async def test_a_url_is_sent_as_given() -> None:
    async with bucket(200) as served:
        await uploader().check(served.url + SIGNED)
        await uploader().put(served.url + SIGNED, DATA, "image/png")
        assert served.puts == [(SIGNED, "image/png", DATA)]
        targets = ["/a%2fb?", "/a/../b|c?x=%2B+%7e", "/%zz;?&"]
        for target in targets:
            await uploader().put(f" {served.url}{target}\n", DATA, "image/png")
        assert [path for path, *_ in served.puts[1:]] == targets


async def test_what_no_request_line_may_hold_is_encoded() -> None:
    async with bucket(200) as served:
        for target in ("/a b", "/ä"):
            await uploader().put(served.url + target, DATA, "image/png")
        assert [path for path, *_ in served.puts] == ["/a%20b", "/%C3%A4"]


async def test_the_host_learns_who_uploads() -> None:
    async with bucket(200) as served:
        await uploader().put(f"{served.url}/a", DATA, "image/png")
        named = UrlUploader(DialPolicy(("127.0.0.1",)), user_agent="Acme/1")
        await named.put(f"{served.url}/a", DATA, "image/png")
        assert served.agents == [f"Framegate/{version('framegate-media')}", "Acme/1"]


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_success_will_do(status: int) -> None:
    async with bucket(status) as served:
        await uploader().put(f"{served.url}/a", DATA, "image/png")


async def test_errors_of_the_server_are_tried_again() -> None:
    async with bucket(503, 500, 200) as served:
        await uploader().put(f"{served.url}/a", DATA, "image/png")
        assert [body for *_, body in served.puts] == [DATA] * 3
    async with bucket(500) as served:
        with pytest.raises(UploadError, match="HTTP 500"):
            await uploader().put(f"{served.url}/a?sig=secret", DATA, "image/png")
        assert len(served.puts) == 3


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 403, 404, 412])
async def test_other_answers_are_final(status: int) -> None:
    async with bucket(status) as served:
        with pytest.raises(UploadError, match=f"HTTP {status}"):
            await uploader().put(f"{served.url}/a", DATA, "image/png")
        assert len(served.puts) == 1


async def test_a_connection_that_fails_is_tried_again() -> None:
    dropped = 0

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dropped
        dropped += 1
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a"
        with pytest.raises(UploadError, match="valid HTTP response"):
            await uploader().put(url, DATA, "image/png")
    assert dropped >= 3  # aiohttp may repeat each attempt itself


async def test_a_silent_server_is_left() -> None:
    async with bucket(SILENCE) as served:
        with pytest.raises(UploadError, match=r"no response within 0\.05 s"):
            await uploader(timeout=0.05).put(f"{served.url}/a", DATA, "image/png")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/a",
        "http://localhost:{port}/a",
        "http://[::1]:{port}/a",
        "http://[::ffff:127.0.0.1]:{port}/a",
        "http://2130706433:{port}/a",
        "http://0x7f.1:{port}/a",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/a",
    ],
)
async def test_private_addresses_are_not_dialled(url: str) -> None:
    async with bucket(200) as served:
        target = url.format(port=served.url.rpartition(":")[2])
        for call in (uploader(allow=()).check(target), uploader(allow=()).put(target, DATA, "image/png")):
            with pytest.raises(UploadError) as raised:
                await call
            assert target not in str(raised.value)
        assert served.puts == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "http://",
        "http:///a",
        "http://example.com:99999/a",
        "http://user:secret@example.com/a",
        "http://example.com\\.evil.example/a",
        "http://example.com%2f@evil.example/a",
        "http://example.com/a\r\nHost: evil",
        "http://example.com/a\tb",
        "data:text/plain,x",
    ],
)
async def test_urls_that_are_none(url: str) -> None:
    for call in (uploader().check(url), uploader().put(url, DATA, "image/png")):
        with pytest.raises(UploadError) as raised:
            await call
        assert "secret" not in str(raised.value)


async def test_a_host_that_nobody_knows() -> None:
    with pytest.raises(UploadError, match="could not be resolved"):
        await uploader().check("https://nobody.invalid/a")
