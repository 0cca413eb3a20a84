"""The listening socket."""

import socket

import pytest

from framegate.core.errors import ConfigError
from framegate.server.listening import listen


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
