"""The listening socket."""

import socket

import pytest

from framegate.core.errors import ConfigError
from framegate.server.listening import SharedPort, listen
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


def test_a_shared_port_is_kept_and_leads_to_the_processes_that_listen() -> None:
    port = SharedPort("127.0.0.1", 0)
    with port.open() as first, port.open() as second:
        for listener in (first, second):
            listener.listen()
        with socket.create_connection(("127.0.0.1", port.port), timeout=10):
            pass
        with pytest.raises(ConfigError, match="in use"):
            SharedPort("127.0.0.1", port.port)
    # What listened has ended: the next one gets the connections.
    with port.open() as third:
        third.listen()
        with socket.create_connection(("127.0.0.1", port.port), timeout=10), third.accept()[0]:
            pass
    port.close()


def test_the_parts_of_a_limit_are_the_limit_together() -> None:
    assert part_of(256, 1) == 256
    assert part_of(256, 2) == 128
    assert part_of(5, 2) == 3
    assert part_of(0, 4) == 0
