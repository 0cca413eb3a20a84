"""The listening socket."""

import socket
from collections.abc import Generator
from contextlib import closing, contextmanager

import pytest

from framegate.core.errors import ConfigError
from framegate.server.listening import SharedPort, inherit, listen, url_of
from framegate.server.process_state import part_of


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_names_tcp_so_that_answers_are_not_held_back(host: str) -> None:
    with listen(host, 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockname()[1] > 0


def test_a_taken_port_and_an_unknown_host_are_named() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        listener.listen()
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"no\.such\.host\.invalid"):
        listen("no.such.host.invalid", 8000)


@contextmanager
def shared_port(number: int = 0) -> Generator[SharedPort]:
    with closing(SharedPort("127.0.0.1", number)) as port:
        yield port


def test_a_shared_port_leads_to_the_processes_that_listen() -> None:
    with shared_port() as port:
        with port.open() as first, port.open() as second:
            for listener in (first, second):
                listener.listen()
            with socket.create_connection(("127.0.0.1", port.port), timeout=10):
                pass
        # What listened has ended: the next one gets the connections.
        with port.open() as third:
            third.listen()
            with socket.create_connection(("127.0.0.1", port.port), timeout=10), third.accept()[0]:
                pass


def require_taken(port: int) -> None:
    for taking in (SharedPort, listen):
        with pytest.raises(ConfigError, match="in use"):
            taking("127.0.0.1", port)


def test_no_other_server_gets_a_shared_port_whether_processes_listen_or_not() -> None:
    with shared_port() as port:
        require_taken(port.port)
        with port.open() as listener:
            require_taken(port.port)
            listener.listen()
            require_taken(port.port)
            # The end of this connection outlives the process that has closed it.
            with socket.create_connection(("127.0.0.1", port.port), timeout=10):
                listener.accept()[0].close()
        require_taken(port.port)
        with port.open() as listener:
            listener.listen()
    with shared_port(port.port) as again:
        assert again.port == port.port


def test_an_inherited_socket_names_tcp_too() -> None:
    with shared_port() as port, inherit(port.open().detach()) as listener:
        assert (listener.family, listener.type) == (socket.AF_INET, socket.SOCK_STREAM)
        assert listener.proto == socket.IPPROTO_TCP
        assert listener.getsockname() == (port.host, port.port)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("gpu.lan", "http://gpu.lan:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_an_address_of_ipv6_is_in_brackets_in_a_url(host: str, url: str) -> None:
    assert url_of(host, 8000) == url


def test_the_parts_of_a_limit_are_the_limit_together() -> None:
    assert part_of(256, 1) == 256
    assert part_of(256, 2) == 128
    assert part_of(5, 2) == 3
    assert part_of(0, 4) == 0
