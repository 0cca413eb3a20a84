"""Compressed request bodies, over a socket."""

import asyncio
import gzip
import hashlib
import json
import socket
import subprocess
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from backports import zstd
from litestar.enums import ScopeType

from framegate.server.requests.content_encoding import DecodedBodies
from tests.support.http_stand import Stand, own_dialects, start_stand
from tests.support.running import eventually

KEY = {"Authorization": "Bearer alice's"}
MAX_BODY = 90_000
CALL = {"prompt": "a café"}
SUBMIT = "/v1/tasks/image"
POSTS = {
    "framegate": "/api/v1/jobs",
    "lightx2v": SUBMIT,
    "openai-videos": "/v1/videos",
    "sora2api": "/v1/videos/generate",
    "wan21-submit": "/video/submit",
    "wan22-predict": "/predict",
    "openai-chat": "/v1/chat/completions",
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    digest = hashlib.sha256(b"alice's").hexdigest()
    with ExitStack() as running:
        yield start_stand(
            running,
            tmp_path_factory.mktemp("encoded"),
            auth={"keys": [{"name": "alice", "sha256": digest}]},
            server={"max_body": MAX_BODY},
            max_queued=0,
        )


def shown(value: Any) -> str | None:
    """Return the name of a body among a test's parameters; gzip's data holds the time."""
    return f"{len(value)} bytes" if isinstance(value, bytes) else None


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def post(stand: Stand, encoding: str, body: Any, path: str = SUBMIT, **headers: str) -> requests.Response:
    sent = {**KEY, "Content-Type": "application/json", "Content-Encoding": encoding, **headers}
    return requests.post(stand.url + path, data=body, headers=sent, timeout=30)


PLAIN = json.dumps(CALL).encode()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(PLAIN)),
        ("GZip", gzip.compress(PLAIN)),
        ("x-gzip", gzip.compress(PLAIN)),
        ("gzip", gzip.compress(PLAIN[:9]) + gzip.compress(PLAIN[9:])),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", bare_deflate(PLAIN)),
        ("deflate", zlib.compress(PLAIN, level=0)),
        ("zstd", zstd.compress(PLAIN)),
        ("zstd", zstd.compress(PLAIN[:9]) + zstd.compress(PLAIN[9:])),
        ("identity", PLAIN),
        ("", PLAIN),
        ("identity, gzip", gzip.compress(PLAIN)),
        ("gzip,zstd", zstd.compress(gzip.compress(PLAIN))),
        ("gzip ,", gzip.compress(PLAIN)),
    ],
    ids=shown,
)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_each_coding(stand: Stand, encoding: str, body: bytes, pieces: int) -> None:
    size = max(1, len(body) // pieces)
    chunks = (body[start : start + size] for start in range(0, len(body), size))
    answer = post(stand, encoding, body if pieces == 1 else chunks)
    assert answer.status_code == 200, answer.text
    assert stand.job(answer.json()["task_id"]).shots[0].prompt == "a café"


def test_forms_are_decoded_too(stand: Stand) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n--b--\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = post(stand, "gzip", gzip.compress(body), "/v1/tasks/image/form", **kind)
    assert answer.status_code == 200, answer.text
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = post(stand, "zstd", zstd.compress(b"prompt=x"), "/v1/videos", **kind)
    assert answer.status_code == 200, answer.text


def test_calls_that_wait_notice_the_client_behind_a_decoded_body(stand: Stand) -> None:
    path, body = "/v1/tasks/image/sync", gzip.compress(PLAIN)
    with stand.working():
        assert post(stand, "gzip", body, path).status_code == 200
    parts = urlsplit(stand.url)
    head = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: {KEY['Authorization']}\r\n"
    head += f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as client:
        client.sendall(head.encode() + body)
        job = stand.wait_claim()
    eventually(lambda: stand.job(job.id).cancel_requested, what="the cancel")


def test_every_dialect_decodes_and_refuses_in_its_own_body(stand: Stand) -> None:
    assert set(POSTS) == set(own_dialects())
    plain = json.dumps({"model": "nothing", "prompt": 5}).encode()
    for path in POSTS.values():
        refused = post(stand, "identity", plain, path)
        assert 400 <= refused.status_code < 500
        decoded = post(stand, "gzip", gzip.compress(plain), path)
        assert decoded.status_code == refused.status_code
        ids = {"request_id"}
        assert {name: value for name, value in decoded.json().items() if name not in ids} == {
            name: value for name, value in refused.json().items() if name not in ids
        }
        for encoding in ("br", "compress", "gzip, br", "gzip, gzip, gzip", "aes128gcm", "\xe9"):
            unknown = post(stand, encoding, b"x" * 100, path)
            assert unknown.status_code == 415, path
            assert unknown.headers["Accept-Encoding"] == "gzip, deflate, zstd"
            assert "gzip, deflate, zstd" in unknown.text
            assert unknown.json().keys() <= refused.json().keys()


@pytest.mark.parametrize(
    ("encoding", "body", "reason"),
    [
        ("gzip", PLAIN, "Content-Encoding is gzip, but"),
        ("deflate", PLAIN, "Content-Encoding is deflate, but"),
        ("zstd", PLAIN, "Content-Encoding is zstd, but"),
        ("gzip", zstd.compress(PLAIN), "Content-Encoding is gzip, but"),
        ("gzip", gzip.compress(PLAIN)[:-9], "ends too early"),
        ("gzip", gzip.compress(PLAIN)[:-1], "ends too early"),
        ("gzip", b"\x1f", "ends too early"),
        ("gzip", gzip.compress(PLAIN) + b"\0", "ends too early"),
        ("gzip", gzip.compress(PLAIN) + b"trailing", "Content-Encoding is gzip, but"),
        ("gzip", gzip.compress(PLAIN)[:-8] + b"\0" * 8, "Content-Encoding is gzip, but"),
        ("deflate", zlib.compress(PLAIN)[:-3], "ends too early"),
        ("zstd", zstd.compress(PLAIN)[:-3], "ends too early"),
        ("gzip, zstd", zstd.compress(PLAIN), "Content-Encoding is gzip, but"),
        ("gzip", gzip.compress(b"") * 1001, "more than 1,000 gzip streams"),
        ("gzip", b"", "A JSON body is required"),
    ],
    ids=shown,
)
def test_wrong_data_is_told(stand: Stand, encoding: str, body: bytes, reason: str) -> None:
    answer = post(stand, encoding, body, "/v1/videos")
    assert answer.status_code == 400
    assert reason in answer.json()["error"]["message"]


def test_a_window_beyond_the_limit_is_refused(stand: Stand) -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    body = packer.compress(PLAIN) + packer.flush()
    answer = post(stand, "zstd", body, "/v1/videos")
    assert answer.status_code == 400, answer.text


def bombs() -> Iterator[tuple[str, bytes]]:
    zeros = b"\0" * 2**27
    once = gzip.compress(zeros, 1)
    yield "gzip", once
    yield "deflate", bare_deflate(zeros)
    yield "zstd", zstd.compress(zeros)
    yield "gzip, gzip", gzip.compress(once)
    # The outer coding's data decodes to almost nothing.
    yield "gzip, deflate", zlib.compress(b"\x1f\x8b\x08\x08\0\0\0\0\0\0" + b"n" * 2**27)


def memory_peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def test_bombs_stop_early(stand: Stand) -> None:
    for encoding, body in list(bombs()):
        started, before = time.process_time(), memory_peak()
        answer = post(stand, encoding, iter([body]), "/v1/videos")
        assert answer.status_code == 413, encoding
        assert "too large" in answer.json()["error"]["message"]
        assert time.process_time() - started < 2
        assert memory_peak() - before < 50 * 2**20


def test_the_limit_counts_decoded_bytes(stand: Stand) -> None:
    body = json.dumps({"prompt": "x", "negative_prompt": "y" * (MAX_BODY - 100)}).encode()
    for encoding, packed in (("gzip", gzip.compress(body)), ("zstd", zstd.compress(body))):
        answer = post(stand, encoding, packed)
        assert answer.status_code == 200, encoding
        assert post(stand, encoding, packed + packed).status_code == 413


def test_endless_data_without_content_is_refused(stand: Stand) -> None:
    head = b"\x1f\x8b\x08\x08\0\0\0\0\0\0"  # a file name follows
    answer = post(stand, "gzip", iter([head] + [b"n" * 10_000] * 15), "/v1/videos")
    assert answer.status_code == 413


def test_nothing_is_decoded_without_a_key(stand: Stand) -> None:
    parts = urlsplit(stand.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as client:
        head = f"POST {SUBMIT} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 90\r\n"
        client.sendall(f"{head}Content-Encoding: br\r\nExpect: 100-continue\r\n\r\n".encode())
        answer = client.recv(9)  # no "100 Continue": the body isn't read
        answer += client.recv(100)
    assert answer.startswith(b"HTTP/1.1 401")


async def test_others_get_their_turn_while_a_body_is_decoded() -> None:
    message = {"type": "http.request", "body": zstd.compress(b"\0" * 2**25), "more_body": False}
    sizes: list[int] = []
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def receive() -> Any:
        return message

    async def send(_: Any) -> None:
        raise AssertionError

    async def read(scope: Any, receive: Any, send: Any) -> None:
        while (piece := await receive())["more_body"]:
            sizes.append(len(piece["body"]))

    other = asyncio.create_task(take_turns())
    scope: Any = {"type": ScopeType.HTTP, "headers": [(b"content-encoding", b"zstd")]}
    await DecodedBodies(read, 2**25)(scope, receive, send)
    other.cancel()
    assert sum(sizes) == 2**25
    assert max(sizes) <= 2**16
    assert turns >= len(sizes) >= 2**9


def test_curl_waits_for_continue(stand: Stand, tmp_path: Path) -> None:
    body = json.dumps({"prompt": "x", "negative_prompt": "y" * (MAX_BODY - 100)}).encode()
    command = [
        "curl",
        "-sS",
        "-v",
        "-w",
        "%{http_code}",
        "-o",
        str(tmp_path / "answer"),
        "--data-binary",
        "@-",
    ]
    for header in ("Authorization: " + KEY["Authorization"], "Content-Type: application/json"):
        command += ["-H", header]
    for extra, data, status in (
        (["-H", "Content-Encoding: gzip"], gzip.compress(body, 0), b"200"),
        ([], body, b"200"),
        ([], body * 20, b"413"),
        (["-H", "Transfer-Encoding: chunked"], body * 20, b"413"),
    ):
        # curl asks by itself only from 1 MB on
        asks = ["-H", "Expect: 100-continue", stand.url + SUBMIT]
        done = subprocess.run([*command, *extra, *asks], input=data, capture_output=True, timeout=30)
        assert done.stdout == status, (extra, done.stderr[-2000:])
        assert (b"100 Continue" in done.stderr) == (status == b"200" or bool(extra))
        assert "task_id" in json.loads((tmp_path / "answer").read_text()) or status == b"413"
