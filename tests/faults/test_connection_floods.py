"""Floods of connections and of unfinished uploads, against which a server keeps answering."""

import resource
import socket
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.raw_http import open_socket, read_all
from tests.support.running import COMMAND, RunningServer, eventually

HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: "
MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that may have 1,000 connections, of which the test's own machine may have any number."""
    running = RunningServer(
        tmp_path_factory.mktemp("flooded") / "data",
        config='[server]\nmax_connections = 1000\nheader_timeout = "20s"\n',
        arguments=["--no-worker"],
    )
    yield running.wait_until_ready("/health")
    assert running.stop() == 0, running.log_text()


@contextmanager
def many_sockets(server: RunningServer, count: int) -> Generator[list[socket.socket]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 500)), hard))
    with ExitStack() as opened:
        yield [opened.enter_context(open_socket(server.url)) for _ in range(count)]


def health(server: RunningServer) -> float:
    """Return how long an answer took, on a connection of its own."""
    started = time.monotonic()
    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200
    return time.monotonic() - started


def test_half_open_connections_stop_nobody(server: RunningServer) -> None:
    process, logged = psutil.Process(server.process.pid), len(server.log_text())
    before = process.memory_info().rss
    with many_sockets(server, 1100) as clients:
        for client in clients:
            with suppress(ConnectionError):  # the oldest have made room already
                client.sendall(HALF)
        took = sorted(health(server) for _ in range(30))
        assert took[-2] < 2, took
        assert process.num_fds() < 1200
        assert read_all(clients[0], seconds=10).closed
    assert process.memory_info().rss - before < 100 * MIB
    eventually(lambda: process.num_fds() < 100, what="the end of all connections")
    assert len(server.log_text()) - logged < 20_000


def test_unfinished_uploads_are_not_in_memory(server: RunningServer) -> None:
    process = psutil.Process(server.process.pid)
    before, most = process.memory_info().rss, 0
    head = b"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with many_sockets(server, 20) as clients:
        for client in clients:
            with suppress(ConnectionError):  # it has been refused
                client.sendall(head + b"Content-Length: 60000001\r\n\r\n" + b'"' * 20 * MIB)
            most = max(most, process.memory_info().rss)
            assert health(server) < 2
        assert most - before < 200 * MIB
        eventually(lambda: psutil.Process(server.process.pid).num_fds() < 100, what="rest")
    uploads = server.data_dir / "uploads"
    assert list(uploads.iterdir()) == []


def test_a_process_without_file_descriptors_recovers(tmp_path: Path) -> None:
    server = RunningServer(
        tmp_path / "data",
        config='[server]\nmax_connections = 10000\nheader_timeout = "30s"\n',
        arguments=["--no-worker"],
        command=("prlimit", "--nofile=128:128", *COMMAND),
    )
    server.wait_until_ready("/health")
    before = len(server.log_text())
    try:
        with many_sockets(server, 300):
            eventually(lambda: "accept_failed" in server.log_text(), what="the error")
            time.sleep(2.5)
            added = server.log_text()[before:]
            assert added.count("accept_failed") <= 5
            assert len(added) < 5000
        eventually(lambda: health(server) < 5, what="health")
    finally:
        assert server.stop() == 0, server.log_text()
