"""Keep the number of connections within limits, and close those whose clients are too slow."""

import asyncio
from collections import OrderedDict, deque
from typing import Protocol

import structlog

from framegate.core.settings import ServerSettings
from framegate.server.auth.origins import is_loopback_host
from framegate.server.process_state import part_of
from framegate.server.requests.forwarded import TrustedProxies

log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 1.0
_LOG_EVERY_SECONDS = 10.0


class Connection(Protocol):
    """An accepted connection, as the tracker sees it."""

    @property
    def address(self) -> str:
        """The peer's IP address."""
        ...

    def close_if_overdue(self, now: float) -> float:
        """Close the connection if its client has exceeded a deadline.

        Return for how many seconds the client has neither sent nor taken a byte that it should.
        """
        ...

    def abort(self) -> None:
        """Close the connection at once."""
        ...


class ConnectionTracker:
    """The open connections of a server.

    A connection awaits a request from when it is accepted, or its last response was sent, until the head of
    the next request is complete. If there are ``max_connections``, a new one takes the place of the one that
    has awaited a request for longest, or else of the one whose client has been stalled for longest. Peers in
    ``proxies`` and this machine itself, which bring the connections of many clients, may have any number.
    """

    def __init__(self, settings: ServerSettings, max_connections: int, proxies: TrustedProxies) -> None:
        self._max = max_connections
        self._max_per_address = part_of(settings.max_connections_per_address, settings.api_processes)
        self._proxies = proxies
        shortest = min(settings.header_timeout, settings.write_timeout, settings.keep_alive)
        self._interval = max(0.05, min(_SWEEP_SECONDS, shortest / 4))
        self._open: set[Connection] = set()
        self._awaiting: OrderedDict[Connection, None] = OrderedDict()
        self._stalled: deque[Connection] = deque()
        self._by_address: dict[str, int] = {}
        self._sweep_handle: asyncio.TimerHandle | None = None
        self._refused = 0
        self._next_log = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> str:
        """Admit a new connection; otherwise return why it is refused."""
        address = connection.address
        count = self._by_address.get(address, 0)
        if self._max_per_address and count >= self._max_per_address and not self._is_exempt(address):
            return self._refuse(f"Your address has {count:,} open connections, as many as it may have.")
        if len(self._open) >= self._max and not self._make_room():
            return self._refuse("The server has as many open connections as it may have.")
        self._open.add(connection)
        self._by_address[address] = count + 1
        self._awaiting[connection] = None
        if self._sweep_handle is None:
            self._schedule()
        return ""

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was closed, or refused."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._awaiting.pop(connection, None)
        address = connection.address
        left = self._by_address[address] - 1
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]

    def request_received(self, connection: Connection) -> None:
        """Note that the head of a request is complete."""
        self._awaiting.pop(connection, None)

    def response_sent(self, connection: Connection) -> None:
        """Note that a connection awaits its next request."""
        self._awaiting[connection] = None

    def _is_exempt(self, address: str) -> bool:
        return is_loopback_host(address) or address in self._proxies

    def _make_room(self) -> bool:
        """Close a connection that another one may replace; return whether there was one."""
        while self._stalled and self._stalled[0] not in self._open:
            self._stalled.popleft()
        if self._awaiting:
            connection = next(iter(self._awaiting))
        elif self._stalled:
            connection = self._stalled.popleft()
        else:
            return False
        connection.abort()
        self.remove(connection)
        return True

    def _refuse(self, reason: str) -> str:
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now >= self._next_log:
            log.warning("connections_refused", count=self._refused, open=len(self._open), reason=reason)
            self._refused, self._next_log = 0, now + _LOG_EVERY_SECONDS
        return reason

    def _schedule(self) -> None:
        self._sweep_handle = asyncio.get_running_loop().call_later(self._interval, self.sweep)

    def sweep(self) -> None:
        """Close the connections that are overdue; it is repeated as long as there are any."""
        now = asyncio.get_running_loop().time()
        stalled = [(connection.close_if_overdue(now), connection) for connection in tuple(self._open)]
        waiting = sorted(
            ((seconds, connection) for seconds, connection in stalled if seconds >= self._interval),
            key=lambda pair: -pair[0],
        )
        self._stalled = deque(connection for _, connection in waiting)
        self._sweep_handle = None
        if self._open:
            self._schedule()
