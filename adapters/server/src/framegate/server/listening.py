"""The socket that requests come in by."""

import socket

from framegate.core.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes any free one.

    Its protocol is given explicitly: asyncio turns Nagle's algorithm off only for sockets that name TCP, and
    with it on every answer on a connection that is kept open takes 40 ms longer.

    Raises:
        ConfigError: there is no such address, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(f"server.port: can't listen on {host}:{port}: {error.strerror}.") from None
    return listener
