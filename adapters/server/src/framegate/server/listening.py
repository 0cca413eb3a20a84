"""The sockets that the server listens on."""

import errno
import socket
import sys

from framegate.core.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening TCP socket; port 0 stands for any free one.

    Its protocol is given explicitly: asyncio disables Nagle's algorithm only for sockets that name TCP, and
    with it every answer on a connection that is kept open takes 40 ms longer.

    Raises:
        ConfigError: The address does not exist, or is in use.
    """
    try:
        return _bind(host, port)
    except OSError as error:
        raise _refusal(host, port, error) from None


class SharedPort:
    """A port on which several processes listen; port 0 stands for any free one.

    On Linux each process gets a socket of its own, and the kernel gives each connection to one of them by a
    hash of its addresses (``SO_REUSEPORT``): the sockets of a process that ends are closed with it, and the
    others get the connections that follow. Elsewhere they all accept from one socket, as the kernel would
    give every connection to the process that came last. Until it is closed, no other server gets the port,
    whether a process listens or not.

    Raises:
        ConfigError: The address does not exist, or is in use.
    """

    def __init__(self, host: str, port: int) -> None:
        self._bound = listen(host, port)
        self.host, self.port = self._bound.getsockname()[:2]
        self._spread = sys.platform == "linux"
        if self._spread:
            # This one never listens, so it gets no connection. With SO_REUSEADDR others could bind the port
            # as long as no process listens; with SO_REUSEPORT alone, only those that set it before they bind.
            self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            self._bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    def open(self) -> socket.socket:
        """Return a socket for a process to listen on; whoever has passed it on closes it."""
        if not self._spread:
            return self._bound.dup()
        return _bind(self.host, self.port, shared=True)

    def close(self) -> None:
        """Let others have the port, once the processes have ended."""
        self._bound.close()


def url_of(host: str, port: int) -> str:
    """Return the URL of a server at an address, in brackets if it is one of IPv6, or at a name."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def inherit(descriptor: int) -> socket.socket:
    """Return the socket to listen on that a parent has passed on; its protocol is given as in `listen`."""
    found = socket.socket(fileno=descriptor)
    return socket.socket(found.family, found.type, socket.IPPROTO_TCP, fileno=found.detach())


def check_address(host: str, port: int) -> None:
    """Check that a server could listen there, unless another one does, which may be this config's own.

    Raises:
        ConfigError: The host isn't one of this machine, or the port may not be used.
    """
    try:
        _bind(host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise _refusal(host, port, error) from None


def _bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def _refusal(host: str, port: int, error: OSError) -> ConfigError:
    if isinstance(error, socket.gaierror):
        return ConfigError(f"there is no host {host!r}: {error.strerror}.", key=("server", "host"))
    if error.errno == errno.EADDRNOTAVAIL:
        return ConfigError(
            f'{host} is not an address of this machine; write one, or "0.0.0.0" for all of them.',
            key=("server", "host"),
        )
    hint = (
        " Ports below 1024 are for root alone; put a proxy before it." if error.errno == errno.EACCES else ""
    )
    return ConfigError(f"can't listen on {host}:{port}: {error.strerror}.{hint}", key=("server", "port"))
