"""The socket that the server listens on."""

import socket

from framegate.core.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 stands for any free one.

    Its protocol is given explicitly: asyncio disables Nagle's algorithm only for sockets that name TCP, and
    with it every answer on a connection that is kept open takes 40 ms longer.

    Raises:
        ConfigError: The address does not exist, or is in use.
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
