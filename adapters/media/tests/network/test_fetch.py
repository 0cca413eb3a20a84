import asyncio
import gzip
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import pytest
from aiohttp import web

from framegate.core.errors import InvalidMedia
from framegate.media.network.fetch import UrlFetcher
from framegate.media.network.urls import shown_url
from tests.support.fetching import fetch_content

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

LOOPBACK = ("127.0.0.1",)
BODY = b"a picture, say"


async def give_body(request: web.Request) -> web.StreamResponse:
    return web.Response(body=BODY)


async def fetch_from(
    handler: Handler,
    url: str = "http://127.0.0.1:{port}/a.png",
    *,
    allow: Sequence[str] = LOOPBACK,
    max_bytes: int = 1000,
    seconds: float = 20.0,
    hosts: Sequence[str] = LOOPBACK,
) -> bytes:
    """Serve ``handler`` on loopback and fetch ``url`` from it."""

    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    port = 0
    try:
        for host in hosts:
            await web.TCPSite(runner, host, port).start()
            port = runner.addresses[0][1]
        fetcher = UrlFetcher(allow, max_bytes=max_bytes, timeout=seconds)
        return await fetch_content(fetcher, url.format(port=port))
    finally:
        await runner.cleanup()


async def fetch_from_socket(answer: bytes) -> bytes:
    """Fetch from a server that writes ``answer``, whatever it is asked, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await fetch_content(UrlFetcher(LOOPBACK, max_bytes=1000), f"http://127.0.0.1:{port}/")


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> None:
    """Let the name server give one answer after the other, the last one for ever."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_an_allowed_address_is_fetched() -> None:
    assert await fetch_from(give_body) == BODY
    assert await fetch_from(give_body, allow=["127.0.0.0/8"]) == BODY


async def test_a_failure_after_the_check_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """One address was refused, the other one answered; the refusal is not what went wrong."""

    async def break_off(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"short")
        assert request.transport is not None
        request.transport.close()
        return response

    resolve_to(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    with pytest.raises(InvalidMedia, match="closed before the file was complete"):
        await fetch_from(break_off, "http://several.example:{port}/")


async def test_an_allowed_host_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    assert await fetch_from(give_body, "http://images.internal:{port}/", allow=["images.internal"]) == BODY


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://127.0.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.0.0.1:{port}/",
        "http://017700000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0.0.0.0:{port}/",
        "http://0:{port}/",
        "http://localhost:{port}/",
        "http://localhost.:{port}/",
        "http://LOCALHOST:{port}/",
        "http://[::1]:{port}/",
        "http://[::]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
        "http://[::127.0.0.1]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://[2002:7f00:1::]:{port}/",
        "http://[fe80::1%25lo]:{port}/",
        "http://①②⑦.⓪.⓪.①:{port}/",
        "http://127.0.0.1%2f@127.0.0.1:{port}/",
        "http://example.com@127.0.0.1:{port}/",
        "http://user:secret@127.0.0.1:{port}/",
        "http://example.com\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}\\@example.com/",
        "http://example.com#@127.0.0.1:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "http://100.100.100.200/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://10.0.0.1/",
        "http://192.168.0.1/",
        "https://127.0.0.1:{port}/",
        "ftp://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "data:text/plain,hello",
        "//127.0.0.1:{port}/",
        "127.0.0.1:{port}",
        "http://",
        "http:///etc/passwd",
        "http://[::1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://a b/",
        "http://\x00/",
        "http://127.0.0.1:{port}/\r\nX-Injected: 1",
        "http://" + "a" * 300 + "/",
        "",
    ],
)
async def test_attacks_never_reach_the_server(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = 0
    real = socket.getaddrinfo

    def offline(host: str, *args: Any, **kwargs: Any) -> Any:
        if "example.com" in host:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    async def count(request: web.Request) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        return web.Response(body=BODY)

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    with pytest.raises(InvalidMedia) as refused:
        await fetch_from(count, url, allow=[])
    assert requests == 0
    assert "secret" not in refused.value.message


async def test_a_closed_address_is_named_with_its_remedy() -> None:
    with pytest.raises(InvalidMedia, match=r"not public.*`\[fetch\] allow`"):
        await fetch_from(give_body, allow=[])


async def test_a_closed_port_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["93.184.216.34"])
    with pytest.raises(InvalidMedia, match=r"port other than 80 and 443.*`\[fetch\] allow`"):
        await fetch_content(UrlFetcher(max_bytes=1), "http://public.example:6379/")


async def test_addresses_from_the_name_server_stay_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["10.11.12.13", "192.168.7.7"])
    with pytest.raises(InvalidMedia, match="not public") as refused:
        await fetch_content(UrlFetcher(max_bytes=1), "http://intranet.example/")
    assert "10.11" not in str(refused.value)
    assert "192.168" not in str(refused.value)


async def test_every_hop_is_checked_on_the_address_it_dials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name means an allowed address first and, asked again for the redirect, a forbidden one."""
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        raise web.HTTPFound("/second")

    with pytest.raises(InvalidMedia, match="not public"):
        await fetch_from(redirect, "http://rebinding.example:{port}/", hosts=["127.0.0.1", "127.0.0.2"])
    assert paths == ["/"]


async def test_of_several_addresses_only_open_ones_are_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, ["127.0.0.2", "127.0.0.1", "127.0.0.3"])
    assert await fetch_from(give_body, "http://several.example:{port}/") == BODY
    with pytest.raises(InvalidMedia, match="not public"):
        await fetch_from(give_body, "http://several.example:{port}/", allow=[])


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.2:{port}/", "http://[::1]:{port}/", "http://localhost:1/", "http://169.254.169.254/"],
)
async def test_redirects_to_closed_addresses_are_refused(target: str) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(target.format(port=request.url.port))

    with pytest.raises(InvalidMedia, match=r"not public|can't be reached"):
        await fetch_from(redirect)


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "http://[", "ftp://a/", ""]
)
async def test_redirects_to_other_things_are_refused(target: str) -> None:
    async def redirect(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": target} if target else {})

    with pytest.raises(InvalidMedia, match="redirects"):
        await fetch_from(redirect, max_bytes=10)


async def test_redirects_are_followed_three_times_without_cookies() -> None:
    seen: list[dict[str, str]] = []

    async def count_down(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        left = int(request.path.strip("/"))
        if not left:
            return web.Response(body=BODY)
        response = web.Response(status=307, headers={"Location": f"/{left - 1}"})
        response.set_cookie("session", "1")
        return response

    assert await fetch_from(count_down, "http://127.0.0.1:{port}/3") == BODY
    assert len(seen) == 4
    assert not any("Cookie" in headers for headers in seen)
    assert {headers["Accept-Encoding"] for headers in seen} == {"identity"}
    with pytest.raises(InvalidMedia, match="too many redirects; at most 3"):
        await fetch_from(count_down, "http://127.0.0.1:{port}/4")


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await fetch_from(give_body) == BODY


async def test_unknown_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(InvalidMedia, match=r"host of 'http://nowhere\.example/a' could not be resolved"):
        await fetch_content(UrlFetcher(max_bytes=1), "http://nowhere.example/a?token=1")


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500])
async def test_other_statuses_are_named_and_bodies_are_not(status: int) -> None:
    async def fail(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=b"internals" if status != 204 else None)

    with pytest.raises(InvalidMedia, match=f"HTTP {status}") as failed:
        await fetch_from(fail)
    assert "internals" not in str(failed.value)


async def test_files_above_the_limit_are_refused_by_their_header() -> None:
    async def claim(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(10**12)})
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    with pytest.raises(InvalidMedia, match="too large; at most 2 MiB"):
        await fetch_from(claim, max_bytes=2 << 20)


async def test_endless_bodies_end_at_the_limit() -> None:
    sent = 0

    async def pour(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(bytes(65536))
                sent += 65536
        return response

    with pytest.raises(InvalidMedia, match="too large; at most 100000 bytes"):
        await fetch_from(pour, max_bytes=100_000)
    assert sent < 20_000_000


async def test_the_limit_itself_is_taken() -> None:
    assert await fetch_from(give_body, max_bytes=len(BODY)) == BODY
    with pytest.raises(InvalidMedia, match="too large"):
        await fetch_from(give_body, max_bytes=len(BODY) - 1)


async def test_compressed_bodies_are_not_unpacked() -> None:
    async def bomb(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(bytes(10_000_000)), headers={"Content-Encoding": "gzip"})

    with pytest.raises(InvalidMedia, match="compressed"):
        await fetch_from(bomb, max_bytes=100_000)


@pytest.mark.parametrize("headers_first", [False, True])
async def test_slow_servers_time_out(headers_first: bool) -> None:
    async def dawdle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if headers_first:
            await response.prepare(request)
            for _ in range(1000):
                await response.write(b".")
                await asyncio.sleep(0.05)
        await asyncio.sleep(60)
        return response

    started = time.monotonic()
    with pytest.raises(InvalidMedia, match=r"timed out after 0\.4 s"):
        await fetch_from(dawdle, seconds=0.4)
    assert time.monotonic() - started < 20, "not only once the server had done"


async def test_slow_redirects_time_out_together() -> None:
    async def dawdle(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        raise web.HTTPFound("/next")

    with pytest.raises(InvalidMedia, match="timed out"):
        await fetch_from(dawdle, seconds=0.7)


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(InvalidMedia, match="can't be reached"):
            await fetch_content(UrlFetcher(LOOPBACK, max_bytes=1), f"http://127.0.0.1:{port}/")


async def test_a_plain_server_behind_https() -> None:
    with pytest.raises(InvalidMedia, match="could not be fetched"):
        await fetch_from(give_body, "https://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"220 mail.example ESMTP\r\n", "not send a valid HTTP response"),
        (b"", "not send a valid HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "closed before the file was complete"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "not send a valid HTTP response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", "not send a valid HTTP response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "empty"),
    ],
)
async def test_broken_answers(answer: bytes, complaint: str) -> None:
    with pytest.raises(InvalidMedia, match=complaint):
        await fetch_from_socket(answer)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@a.example/b?token=1#c", "https://a.example/b"),
        ("https://a.example/@someone/b", "https://a.example/@someone/b"),
        ("  http://a.example/\n", "http://a.example/"),
        ("http://a.example/\x1b[31m", "http://a.example/?[31m"),
        ("http://a.example/" + "b" * 500, "http://a.example/" + "b" * 182 + "…"),
        ("secret@a.example", "a.example"),
    ],
)
def test_urls_in_messages(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert len(shown_url(url)) <= 200
