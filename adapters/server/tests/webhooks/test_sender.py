"""One attempt at a delivery, also to hostile URLs and receivers."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import formatdate
from importlib.metadata import version
from typing import Any

import pytest

from framegate.cli.webhook_policy import SignedWebhooks
from framegate.media.network.addresses import DialPolicy
from framegate.server.webhooks.sender import Answer, NoResponse, WebhookSender
from tests.support.receiving import Received, StartReceiver
from tests.support.running import PATIENCE

LOOPBACK = ("127.0.0.1",)


async def send(
    url: str,
    *,
    allow: Sequence[str] = LOOPBACK,
    timeout: float = 10.0,  # noqa: ASYNC109 # the sender's own
) -> Answer:
    sender = WebhookSender(DialPolicy(allow), timeout=timeout)
    return await sender.post(url, b'{"a":1}', {"webhook-id": "evt_1"})


async def send_to_socket(answer: bytes, *, endless: bool = False) -> Answer:
    """Send to a server that writes ``answer``, whatever it receives, and disconnects or goes on for ever."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            await writer.drain()
            while endless:
                writer.write(bytes(65536))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await send(f"http://127.0.0.1:{port}/")


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: Sequence[str]) -> None:
    """Let the name server give these answers one after the other, and repeat the last."""
    left = list(answers)

    def getaddrinfo(host: str, port: int, *args: Any, **kwargs: Any) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


async def test_what_arrives(start_receiver: StartReceiver) -> None:
    receiver = start_receiver(lambda _: (202, {"Set-Cookie": "a=1"}))
    assert await send(f"{receiver.url}/hooks/a%2Fb?key=%20x+y") == Answer(202)
    [received] = receiver.received
    assert received.path == "/hooks/a%2Fb?key=%20x+y"
    assert received.body == b'{"a":1}'
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"] == f"Framegate/{version('framegate-media')}"
    assert received.id == "evt_1"


async def test_signed_targets_are_requested_as_given(start_receiver: StartReceiver) -> None:
    receiver = start_receiver()
    policy = SignedWebhooks("", allowed_hosts=(), dial=DialPolicy(LOOPBACK))
    targets = ["/a%2Fb%2fc", "/%7Ea~b?sig=%2B+%3d", "/p?", "/a|b;c?d=%20", "/a/../b", "/%zz"]
    for target in targets:
        [url] = policy.addresses(f" {receiver.url}{target}#top\n")
        assert await send(url) == Answer(200)
    assert [received.path for received in receiver.received] == targets
    [url] = policy.addresses(f"{receiver.url}/über uns")
    await send(url)
    assert receiver.received[-1].path == "/%C3%BCber%20uns"


async def test_a_url_that_is_none_any_more_is_no_crash() -> None:
    with pytest.raises(NoResponse, match=r"its URL is not a valid http\(s\) URL"):
        await send("https://hooks.example\\evil.example/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://2130706433:{port}/",
        "http://0x7f000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0.0.0.0:{port}/",
        "http://localhost:{port}/",
        "http://localhost.:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[64:ff9b::7f00:1]:{port}/",
        "http://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1:{port}/",
    ],
)
async def test_private_addresses_are_told_nothing(url: str, start_receiver: StartReceiver) -> None:
    receiver = start_receiver()
    with pytest.raises(NoResponse) as failed:
        await send(url.format(port=receiver.port), allow=[])
    assert receiver.received == []
    assert "127.0" not in str(failed.value)


async def test_a_name_is_checked_when_it_is_dialled(
    start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name resolves to an allowed address first, and to a forbidden one later."""
    receiver, other = start_receiver(), start_receiver(host="127.0.0.2")
    resolve_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    assert (await send(f"http://rebinding.example:{receiver.port}/")).status == 200
    with pytest.raises(NoResponse, match="not public"):
        await send(f"http://rebinding.example:{other.port}/")
    assert len(receiver.received) == 1
    assert other.received == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(status: int, start_receiver: StartReceiver) -> None:
    other = start_receiver()
    receiver = start_receiver(lambda _: (status, {"Location": f"{other.url}/"}))
    assert await send(receiver.url) == Answer(status)
    assert other.received == []


async def test_proxies_of_the_environment_are_not_used(
    start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await send(start_receiver().url)).status == 200


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        ("soon", 0),
        ("9" * 400, 0),
        ("9" * 5000, 0),
        ("٣", 3),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Oct 9999 99:99:99 GMT", 0),
    ],
)
async def test_when_it_wants_to_be_asked_again(
    header: str, seconds: float, start_receiver: StartReceiver
) -> None:
    head = f"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: {header}\r\n\r\n"
    assert await send_to_socket(head.encode()) == Answer(503, seconds)


async def test_a_date_to_be_asked_again(start_receiver: StartReceiver) -> None:
    receiver = start_receiver(lambda _: (429, {"Retry-After": formatdate(time.time() + 90, usegmt=True)}))
    assert 60 < (await send(receiver.url)).retry_after <= 90


async def test_a_slow_receiver_is_left(start_receiver: StartReceiver) -> None:
    was_left = threading.Event()

    def dawdle(_: Received) -> int:
        was_left.wait(PATIENCE)
        return 200

    receiver = start_receiver(dawdle)
    with pytest.raises(NoResponse, match=r"no response within 0\.3 s"):
        await send(receiver.url, timeout=0.3)
    was_left.set()


async def test_bodies_are_not_read() -> None:
    """Else the answer would come too late: this body doesn't end."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    assert await send_to_socket(head, endless=True) == Answer(200)


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ESMTP\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
async def test_broken_answers(answer: bytes) -> None:
    with pytest.raises(NoResponse, match="did not send a valid HTTP response"):
        await send_to_socket(answer)


async def test_why_nobody_answered(start_receiver: StartReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = start_receiver()
    with pytest.raises(NoResponse, match=r"the TLS connection failed"):
        await send(receiver.url.replace("http:", "https:"))
    receiver.stop()
    with pytest.raises(NoResponse, match="can't be reached"):
        await send(receiver.url)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(NoResponse, match="could not be resolved"):
        await send("http://nowhere.example/")
