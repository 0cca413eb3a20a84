"""The HTTP/1.1 protocol of connections, with deadlines."""

import asyncio
from contextvars import copy_context
from typing import Any
from urllib.parse import unquote

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from framegate.server.connections.exchange import Exchange
from framegate.server.connections.refusals import RefusedRequest, refusal_response
from framegate.server.connections.request_parser import RequestHead, RequestParser
from framegate.server.connections.server_config import ServerConfig

_DRAINED = 256 * 1024
"""The bytes of a body that nobody reads for whose sake the connection is kept."""
_TAKEN = 16 * 1024
"""The bytes of a response that a client has to take within ``write_timeout``."""


class TrackedProtocol(asyncio.Protocol):
    """A connection that a `ConnectionTracker` watches.

    Requests are parsed one at a time: what a client sends ahead waits until they are answered. The rest of a
    body that no handler has read is thrown away, for as long as the client would have for the head of a
    request. The connection is kept if little was left; otherwise it is closed only after the client has seen
    the response.
    """

    transport: asyncio.Transport
    flow: FlowControl

    def __init__(
        self,
        config: ServerConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
    ) -> None:
        self.address = ""
        self._app = config.loaded_app
        self._asgi = {"version": config.asgi_version, "spec_version": "2.3"}
        self._root_path = config.root_path
        self._state = app_state
        self._settings = config.server_settings
        self._tracker = config.tracker
        self._server_state = server_state
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self)
        self._exchange: Exchange | None = None
        self._awaiting = True
        self._awaited_since: float | None = None
        self._idle_since: float | None = None
        self._drained = -1
        self._lingers = False
        self._progress: tuple[str, int] | None = None
        self._progress_at = 0.0

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every response, which uvicorn renews once a second."""
        return self._server_state.default_headers

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # TCP's transport
        """Admit the connection, or refuse it."""
        self.transport = transport
        self.flow = FlowControl(transport)
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # it lists uvicorn's own protocols
        self._server, self._client = get_local_addr(transport), get_remote_addr(transport)
        self.address = self._client[0] if self._client else ""
        # Callbacks of a transport may run in the context of the request that resumed it.
        self._context = copy_context()
        self._awaited_since = self._loop.time()
        if reason := self._tracker.add(self):
            transport.write(refusal_response(503, reason))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._tracker.remove(self)
        self._server_state.connections.discard(self)
        if self._exchange is not None:
            if not self._exchange.response_complete:
                self._exchange.disconnect()
            self._exchange = None
        self.flow.resume_writing()

    def pause_writing(self) -> None:
        """Let the app wait: much of its response waits for the client."""
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        """Let the app go on."""
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """Close the connection, or let its current response be the last one."""
        if self._exchange is None or self._exchange.response_complete:
            self.transport.close()
        else:
            self._exchange.keep_alive = False

    def data_received(self, data: bytes) -> None:
        """Parse what the client has sent."""
        if self._lingers:
            self._discard(len(data))
            return
        try:
            self._parser.feed(data)
        except RefusedRequest as error:
            self._refuse(error)
            return
        if self._drained >= 0:
            self._drain(len(data))
        elif self._awaiting and self._awaited_since is None:
            self._awaited_since = self._loop.time()  # a part of a head
        elif self._parser.complete and self._parser.has_unparsed:
            self.flow.pause_reading()

    # What the parser reports

    def on_request(self, head: RequestHead) -> None:
        """Call the app."""
        self._awaiting, self._awaited_since, self._idle_since = False, None, None
        self._tracker.request_received(self)
        raw_path, _, query = head.target.partition(b"?")
        path = raw_path.decode("ascii")
        scope = {
            "type": "http",
            "asgi": self._asgi,
            "http_version": head.version.decode("ascii"),
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": head.method.decode("ascii"),
            "root_path": self._root_path,
            "path": self._root_path + (unquote(path) if "%" in path else path),
            "raw_path": self._root_path.encode("ascii") + raw_path,
            "query_string": query,
            "headers": head.headers,
            "state": self._state.copy(),
        }
        self._exchange = exchange = Exchange(
            self,
            scope,
            keep_alive=head.keep_alive and self._settings.keep_alive > 0,
            expects_continue=head.expects_continue,
        )
        task = self._loop.create_task(exchange.run(self._app), context=self._context.copy())
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def on_body(self, data: bytes) -> None:
        """Pass a piece of a body on to the app, unless it has answered already."""
        if self._exchange is not None and not self._exchange.response_complete:
            self._exchange.add_body(data)

    def on_request_complete(self) -> None:
        """Tell the app that the body is complete."""
        if self._exchange is not None and not self._exchange.response_complete:
            self._exchange.end_body()

    def on_response_complete(self) -> None:
        """Await the next request, which may be here already, unless this response was the last one."""
        self._server_state.total_requests += 1
        exchange, parser = self._exchange, self._parser
        if exchange is None or self.transport.is_closing():
            return
        has_unread = not parser.complete or parser.has_unparsed or self.flow.read_paused
        if not exchange.keep_alive and not has_unread:
            self.transport.close()
            return
        self.flow.resume_reading()
        self._await_request()
        if exchange.keep_alive and parser.complete:
            self._start_next()
            return
        self._drained = 0
        self._awaited_since = self._loop.time()
        # A client that was to be asked for its body may send it, or another request in its place.
        if not exchange.keep_alive or exchange.expected_continue:
            self._linger()

    def _await_request(self) -> None:
        self._awaiting = True
        self._tracker.response_sent(self)

    def _start_next(self) -> None:
        try:
            self._parser.start_next()
        except RefusedRequest as error:
            self._refuse(error)
            return
        if self._awaiting:
            self._awaited_since = self._loop.time() if self._parser.has_unparsed else None
        elif self._parser.complete and self._parser.has_unparsed:
            self.flow.pause_reading()

    def _refuse(self, error: RefusedRequest) -> None:
        """Answer a request that is not valid HTTP, and close the connection."""
        exchange = self._exchange
        if exchange is not None and not exchange.response_complete:
            if exchange.response_started:
                self.abort()  # a response is under way already
                return
            exchange.disconnect()
        if self._drained < 0:  # otherwise the request has been answered
            self.transport.write(refusal_response(error.status, str(error)))
        self._await_request()
        self._awaited_since = self._loop.time()
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
        if not self._awaiting and self._parser.in_body and not self.flow.read_paused:
            return ("body", self._parser.received)
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
        if self._drained < 0 and not self._lingers and self._parser.has_unparsed:
            self.transport.write(refusal_response(408, "The request's head did not arrive in time."))
        self.transport.close()

    def _drain(self, size: int) -> None:
        if self._parser.complete:
            self._drained = -1
            self._start_next()
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
