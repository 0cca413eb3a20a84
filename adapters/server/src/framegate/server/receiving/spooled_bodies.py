"""Keep large bodies on disk until they are complete and there is room for them in memory.

A form's files are written to disk by its parser as they arrive, so the pieces of multipart bodies are passed
on at once; the last one is kept back until there is room for all of them. Neither happens before a handler
asks for the body, hence after keys have been checked.
"""

import errno
import math
import tempfile
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPRequestEvent, Receive, Scope, Send

from framegate.core.concurrency import FILE_THREADS, in_thread
from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import Unavailable
from framegate.server.auth.keys import client_of
from framegate.server.errors.error_info import BodyTooLarge
from framegate.server.receiving.budget import BodyBudget, BodyShare

SMALL = 256 * 1024
"""The bytes of a body that are kept in memory from the start."""
_SMALL_IN_A_CROWD = 16 * 1024
"""The same while many bodies arrive."""
_FOLDER = "uploads"


class SpooledBodies:
    """ASGI middleware that accounts for the bodies of requests in a `BodyBudget`.

    A client may have as many bytes in flight as its key says, or else ``default_limit``; 0 means no limit.
    ``part_of`` returns the part of it that one of several API processes has.
    Large bodies are in unnamed files below ``data_path``.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        budget: BodyBudget,
        default_limit: int,
        max_bytes: int,
        data_path: Path,
        part_of: Callable[[int], int],
    ) -> None:
        self._app = app
        self._part_of = part_of
        self._budget = budget
        self._default_limit = default_limit
        self._max_bytes = max_bytes
        self._folder = data_path / _FOLDER

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        share: BodyShare | None = None
        complete = False

        async def receive_spooled() -> HTTPReceiveMessage:
            nonlocal share, complete
            if complete:
                return await receive()  # type: ignore[return-value]  # HTTP's messages alone
            if share is None:
                share = self._new_share(scope)
            message: HTTPReceiveMessage = await receive()  # type: ignore[assignment]  # HTTP's messages alone
            if message["type"] != "http.request":
                return message
            self._budget.hold(share, len(message["body"]))
            if message["more_body"] and not _is_multipart(scope):
                message = await self._spool(scope, message, receive, share)
            if message["type"] == "http.request" and not message["more_body"]:
                if share.held > SMALL and not share.loaded:
                    await self._budget.load(share)
                complete = True
            return message

        try:
            await self._app(scope, receive_spooled, send)
        finally:
            if share is not None:
                self._budget.release(share)

    def _new_share(self, scope: Scope) -> BodyShare:
        client = client_of(scope)
        own = client.max_bytes_in_flight
        limit = self._default_limit if own is None else own
        return BodyShare(client.identity, self._part_of(limit) or math.inf)

    async def _spool(
        self, scope: Scope, first: HTTPRequestEvent, receive: Receive, share: BodyShare
    ) -> HTTPReceiveMessage:
        """Return the whole body as one message, or the client's disconnect."""
        max_bytes = min(self._max_bytes, _handler_limit(scope))
        message: HTTPReceiveMessage = first
        pending = bytearray()
        with ExitStack() as closing:
            file: IO[bytes] | None = None
            while message["type"] == "http.request":
                if share.held > max_bytes:
                    raise BodyTooLarge(
                        f"The request body is too large; at most {max_bytes:,} bytes are accepted."
                    )
                pending += message["body"]
                if len(pending) > (_SMALL_IN_A_CROWD if self._budget.is_crowded else SMALL):
                    with _explaining_errors():
                        if file is None:
                            opened = await in_thread(self._open, lambda opened: opened.close())
                            file = closing.enter_context(opened)
                        await FILE_THREADS.run(file.write, pending)
                    pending = bytearray()
                if not message["more_body"]:
                    break
                message["body"] = b""  # it is not to stay in memory until the next one is here
                message = await receive()  # type: ignore[assignment]  # HTTP's messages alone
                if message["type"] == "http.request":
                    self._budget.hold(share, len(message["body"]))
            else:
                return message
            if file is None:
                return {"type": "http.request", "body": bytes(pending), "more_body": False}
            await self._budget.load(share)
            with _explaining_errors():
                await FILE_THREADS.run(file.write, pending)
                body = await FILE_THREADS.run(_read, file)
            return {"type": "http.request", "body": body, "more_body": False}

    def _open(self) -> IO[bytes]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=self._folder)


def _read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _is_multipart(scope: Scope) -> bool:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return kind.strip().lower().startswith(b"multipart/")


def _handler_limit(scope: Scope) -> float:
    """Return the size that Litestar would accept for the request's handler."""
    handler: HTTPRouteHandler = scope["route_handler"]  # type: ignore[assignment]  # of an HTTP scope
    return handler.resolve_request_max_body_size() or math.inf


@contextmanager
def _explaining_errors() -> Generator[None]:
    try:
        with translate_disk_full():
            yield
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise Unavailable("The server has too many open files; try again shortly.") from error
        raise
