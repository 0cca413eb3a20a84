"""Connections and forwarded headers as `framegate serve` treats them."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from framegate.storage.connections import connect as valkey_of
from framegate.storage.embedded import socket_url
from tests.support.running import RunningServer
from tests.support.tasks import ended, reads_of_jobs, status, submit

CALL = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def impatient_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that trusts proxies on this machine and closes connections after a second without requests."""
    running = RunningServer(
        tmp_path_factory.mktemp("impatient") / "data",
        config='[server]\nkeep_alive = "1s"\ntrusted_proxies = ["127.0.0.0/8"]\n',
        arguments=["--no-worker"],
    )
    yield running.wait_until_ready("/health")
    assert running.stop() == 0, running.log_text()


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def receive_answer(client: socket.socket) -> None:
    received = b""
    while not received.endswith(b'{"status":"ok"}'):
        data = client.recv(65536)
        assert data, received
        received += data


def test_keep_alive(small_server: RunningServer, impatient_server: RunningServer) -> None:
    with connect(small_server) as patient, connect(impatient_server) as impatient:
        patient.sendall(CALL)
        receive_answer(patient)
        answered = time.monotonic()

        # A request that comes slowly isn't cut.
        impatient.sendall(CALL[:20])
        time.sleep(1.5)
        impatient.sendall(CALL[20:])
        receive_answer(impatient)
        idle = time.monotonic()
        assert impatient.recv(65536) == b""
        assert 0.9 < time.monotonic() - idle < 4

        # By default connections outlast the 60 s of proxies; here 5.5 s have to do: uvicorn's default is 5.
        time.sleep(max(0.0, answered + 5.5 - time.monotonic()))
        patient.sendall(CALL)
        receive_answer(patient)


def test_a_slow_upload_is_not_cut(impatient_server: RunningServer) -> None:
    head = b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connect(impatient_server) as client:
        client.sendall(head + b"Content-Length: 20\r\n\r\n" + b"{" * 10)
        time.sleep(1.5)
        client.sendall(b"{" * 10)
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_only_trusted_proxies_are_believed(
    small_server: RunningServer, impatient_server: RunningServer, tmp_path: Path
) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "localhost:8443", "X-Forwarded-Prefix": "/v"}
    for server, prefix in ((impatient_server, "/v"), (small_server, "/")):
        document = requests.get(f"{server.url}/openapi.json", headers=headers, timeout=10).json()
        assert document["servers"] == [{"url": prefix}]
    call = {"prompt": "x", "size": "64x64", "response_format": "url"}
    made = requests.post(f"{small_server.url}/v1/images/generations", json=call, headers=headers, timeout=60)
    assert made.json()["data"][0]["url"].startswith(f"{small_server.url}/v1/")


def test_a_server_alone_answers_polls_from_memory(small_server: RunningServer) -> None:
    task = submit(small_server, "a cat")
    ended(small_server, task)
    with valkey_of(socket_url(small_server.data_dir)) as client:
        before = reads_of_jobs(client)
        for _ in range(30):
            assert status(small_server, task)["status"] == "succeed"
        assert reads_of_jobs(client) - before < 10, "those of others"
