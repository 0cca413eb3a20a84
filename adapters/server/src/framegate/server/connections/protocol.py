"""uvicorn's HTTP/1.1 protocol with deadlines, and its configuration."""

import asyncio
import sys
from http import HTTPStatus
from typing import Any, Literal

import h11
import msgspec
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from framegate.core.settings import ServerSettings
from framegate.server.connections.file_limit import default_max_connections
from framegate.server.connections.strict_http import RefusedRequest, StrictConnection
from framegate.server.connections.tracker import ConnectionTracker
from framegate.server.errors.renderer import NeutralError
from framegate.server.process_state import part_of
from framegate.server.requests.forwarded import TrustedProxies

_PIECE = 64 * 1024
"""The bytes that are parsed at a time, so that the limit on incomplete heads and trailers is theirs."""
_DRAINED = 256 * 1024
"""The bytes of a body that nobody reads for whose sake the connection is kept."""
_TAKEN = 16 * 1024
"""The bytes of a response that a client has to take within ``write_timeout``."""
_RETRY_AFTER = 5
_CODES = {
    400: "invalid_request",
    408: "request_timeout",
    414: "uri_too_long",
    431: "headers_too_large",
    503: "too_many_connections",
}


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration for an app, by ``[server]``; ``max_files`` may be open at once.

    With ``lifespan`` "off" whoever runs the server starts and ends what the app needs.
    """

    def __init__(
        self, app: Any, settings: ServerSettings, max_files: int, *, lifespan: Literal["auto", "off"] = "auto"
    ) -> None:
        super().__init__(
            app,
            lifespan=lifespan,
            host=settings.host,
            port=settings.port,
            http=TrackedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # see `framegate.server.requests.forwarded`
            timeout_graceful_shutdown=max(1, round(settings.shutdown_grace)),
        )
        self.server_settings = settings
        self.tracker = ConnectionTracker(
            settings,
            part_of(settings.max_connections, settings.api_processes) or default_max_connections(max_files),
            TrustedProxies(settings.trusted_proxies),
        )


class TrackedProtocol(H11Protocol):
    """A connection that a `ConnectionTracker` watches.

    The rest of a body that no handler has read is thrown away, for as long as the client would have for the
    head of a request. The connection is kept if little was left; otherwise it is closed only after the client
    has seen the response.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(config, ServerConfig)
        self._settings = config.server_settings
        self._tracker = config.tracker
        self._strict = StrictConnection()
        self.conn = self._strict
        self.address = ""
        self._awaiting = True
        self._awaited_since: float | None = None
        self._idle_since: float | None = None
        self._drained = -1
        self._lingers = False
        self._progress: tuple[str, int] | None = None
        self._progress_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Admit the connection, or refuse it."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._awaited_since = self.loop.time()
        if reason := self._tracker.add(self):
            transport.write(_error_response(503, reason))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._tracker.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what the client has sent."""
        if self._lingers:
            self._discard(len(data))
            return
        if self._awaiting and self._awaited_since is None:
            self._awaited_since = self.loop.time()
        self._strict.received += len(data)
        if len(data) <= _PIECE:
            self._strict.receive_data(data)
            self.handle_events()
        else:
            self._parse_pieces(data)
        if self._lingers:
            return
        if self._drained >= 0:
            self._drain(len(data))
        elif self._awaiting and self._has_head():
            self._request_received()

    def _parse_pieces(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            if not self._lingers:
                self._strict.receive_data(data[start : start + _PIECE])
                self.handle_events()

    def _has_head(self) -> bool:
        return self.conn.their_state is not h11.IDLE

    def _request_received(self) -> None:
        self._awaiting, self._awaited_since, self._idle_since = False, None, None
        self._tracker.request_received(self)

    def on_response_complete(self) -> None:
        """Await the next request, which may be here already.

        This is uvicorn's own method without its timer for idle connections: the tracker looks after them.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._awaiting = True
        self._tracker.response_sent(self)
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            if not self._settings.keep_alive:
                self.transport.close()
                return
            self.conn.start_next_cycle()
            self.handle_events()
            if self._has_head() and not self._lingers:
                self._request_received()
        elif self.conn.their_state is h11.SEND_BODY:
            self._drained = 0
            self._awaited_since = self.loop.time()
            if any(name == b"expect" for name, _ in self.scope["headers"]):
                self._linger()  # it may send the body, or another request in its place

    def _should_upgrade(self) -> bool:
        """Take a request to change the protocol as an ordinary one, without uvicorn's warnings."""
        return False

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not valid HTTP, and close the connection."""
        error = sys.exception()  # uvicorn's handler of the parser's errors calls this
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if self.cycle and self.cycle.response_started and not self.cycle.response_complete:
            self.abort()  # a response is under way already
            return
        message = str(error) if isinstance(error, RefusedRequest) else "The request is not valid HTTP/1.1."
        self.transport.write(_error_response(status, message))
        if self.cycle:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._awaiting, self._awaited_since = True, self.loop.time()
        self._tracker.response_sent(self)
        self._linger()

    def close_if_overdue(self, now: float) -> float:
        """Close the connection if its client has exceeded a deadline.

        Return for how many seconds the client has neither sent nor taken a byte that it should.
        """
        if self._awaiting:
            self._close_if_late(now)
        progress = self._client_progress()
        if progress != self._progress:
            self._progress, self._progress_at = progress, now
        if progress is None:
            return 0.0
        stalled = now - self._progress_at
        if progress[0] == "response" and stalled > self._settings.write_timeout:
            self.abort()
        return stalled

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def _client_progress(self) -> tuple[str, int] | None:
        """Return how far the client is with what only it can do now; None if the server is to act."""
        if unsent := self.transport.get_write_buffer_size():
            return ("response", unsent // _TAKEN if self.flow.write_paused else unsent)
        if not self._awaiting and self.conn.their_state is h11.SEND_BODY and not self.flow.read_paused:
            return ("body", self._strict.received)
        return None

    def _close_if_late(self, now: float) -> None:
        if self._awaited_since is None:
            if self._idle_since is None:
                self._idle_since = now
            elif now - self._idle_since > self._settings.keep_alive:
                self.transport.close()
        elif now - self._awaited_since > self._settings.header_timeout:
            self._time_out()

    def _time_out(self) -> None:
        if self._drained < 0 and not self._lingers and self.conn.trailing_data[0]:
            self.transport.write(_error_response(408, "The request's head did not arrive in time."))
        self.transport.close()

    def _drain(self, size: int) -> None:
        if self.conn.their_state is not h11.SEND_BODY or not self.cycle.response_complete:
            self._drained = -1
            self._awaited_since = None
            if self._has_head():
                self._request_received()
            return
        self._drained += size
        if self._drained > _DRAINED:
            self._linger()

    def _linger(self) -> None:
        """Say that nothing follows the response, and discard what comes until the client has seen it.

        Closing at once would reset the connection while the client still sends, and it would never read the
        response.
        """
        self._lingers, self._drained = True, 0
        self.flow.resume_reading()
        self.transport.write_eof()

    def _discard(self, size: int) -> None:
        self._drained += size
        if self._drained > self._settings.max_body:
            self.abort()


def _error_response(status: int, message: str) -> bytes:
    """Return the response to a request of which no dialect knows, after which the connection is closed."""
    body = msgspec.json.encode(NeutralError(message, _CODES.get(status, "invalid_request")))
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n"
    )
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"Retry-After: {_RETRY_AFTER}\r\n"
    return head.encode() + b"\r\n" + body
