"""Decode compressed request bodies, a piece at a time and only when a handler reads them.

RFC 9110, 8.4: the header names the codings in the order in which they were applied. No coding may yield more
than the largest body that the server accepts, so a decompression bomb costs no more than a large body.
"""

import asyncio
import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Protocol, TypeAlias, cast

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from framegate.core.errors import InvalidRequest
from framegate.server.errors.error_info import (
    ACCEPTED_ENCODINGS,
    BodyTooLarge,
    ClientDisconnected,
    UnsupportedContentEncoding,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEADER = b"content-encoding"
_PIECE = 64 * 1024
_MAX_CODINGS = 2
_MAX_MEMBERS = 1000
"""The most streams that one body may consist of; each costs time, even if it is empty."""
_ZSTD_WINDOW_LOG = 23  # 8 MiB, the largest that RFC 9659 allows


class _Decoder(Protocol):
    """The decoder of a single stream, as the ones for zstd of Python's standard library."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Inflate:
    """A `_Decoder` for what zlib decodes."""

    def __init__(self, window_bits: int) -> None:
        self._inflate = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)


def _gzip(_: bytes) -> _Decoder:
    return _Inflate(16 + zlib.MAX_WBITS)


def _deflate(start: bytes) -> _Decoder:
    """Return a decoder of zlib's format, or of the bare data that some clients send instead."""
    has_header = start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:2]) % 31 == 0
    return _Inflate(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


def _zstd(_: bytes) -> _Decoder:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


_Coding: TypeAlias = Callable[[bytes], _Decoder]
"""Returns the decoder of a stream that begins with the given bytes, two at least."""
_CODINGS: Mapping[str, _Coding] = {"gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
_ALIASES = {"x-gzip": "gzip"}


class DecodedBodies:
    """ASGI middleware that decodes the bodies of requests with a Content-Encoding header.

    Nothing is decoded, or refused, before a handler asks for the body, hence after keys have been checked.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        names = _content_encoding(scope) if scope["type"] == ScopeType.HTTP else []
        if not names:
            await self._app(scope, receive, send)
            return
        body = _decoded_body(names, receive, self._max_bytes)
        async with aclosing(body):

            async def receive_decoded() -> HTTPReceiveMessage:
                async for piece in body:
                    return {"type": "http.request", "body": piece, "more_body": bool(piece)}
                return cast(HTTPReceiveMessage, await receive())

            await self._app(scope, receive_decoded, send)


def _content_encoding(scope: Scope) -> list[str]:
    """Return the names of a body's codings, in the order in which they were applied."""
    header = b",".join(value for name, value in scope["headers"] if name == _HEADER).decode("latin-1")
    names = [name.strip().lower() for name in header.split(",")]
    return [_ALIASES.get(name, name) for name in names if name not in ("", "identity")]


async def _decoded_body(names: list[str], receive: Receive, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the pieces of a decoded body, and at its end an empty one.

    Raises:
        UnsupportedContentEncoding: A coding is unknown, or there are too many.
        BodyTooLarge: A coding yields more than ``max_bytes``.
        InvalidRequest: The body is not what the header says, or incomplete.
        ClientDisconnected: The client disconnected before the body was complete.
    """
    unknown = [name for name in names if name not in _CODINGS]
    if unknown or len(names) > _MAX_CODINGS:
        what = repr(unknown[0][:50]) if unknown else f"{len(names)} at once"
        raise UnsupportedContentEncoding(
            f"Bodies with the Content-Encoding {what} are not decoded; accepted are {ACCEPTED_ENCODINGS}, "
            f"at most {_MAX_CODINGS} together."
        )
    pieces = _limited(_received(receive), max_bytes, "")
    for name in reversed(names):
        pieces = _limited(_decoded(pieces, name), max_bytes, f", decoded by {name},")
    async for piece in pieces:
        yield piece
    yield b""


async def _received(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected("The client disconnected before its request was complete.")
        yield message["body"]
        more = message["more_body"]


async def _limited(pieces: AsyncIterator[bytes], max_bytes: int, how: str) -> AsyncIterator[bytes]:
    total = 0
    async for piece in pieces:
        total += len(piece)
        if total > max_bytes:
            raise BodyTooLarge(
                f"The request body{how} is too large; at most {max_bytes:,} bytes are accepted."
            )
        yield piece


async def _decoded(source: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    decoder: _Decoder | None = None
    pending, members = b"", 0
    async for chunk in source:
        pending += chunk
        while pending and (decoder or len(pending) > 1):
            if decoder is None:
                decoder, members = _CODINGS[name](pending), members + 1
                if members > _MAX_MEMBERS:
                    raise InvalidRequest(f"The body consists of more than {_MAX_MEMBERS:,} {name} streams.")
            data, pending = pending[:_PIECE], pending[_PIECE:]
            while piece := _decompress(decoder, data, name):
                yield piece
                data = b""
                await asyncio.sleep(0)  # other requests get their turn
            if decoder.eof:
                pending, decoder = decoder.unused_data + pending, None
            await asyncio.sleep(0)
    if decoder or pending:
        raise InvalidRequest(f"The body ends too early: its {name} data is incomplete.")


def _decompress(decoder: _Decoder, data: bytes, name: str) -> bytes:
    if decoder.eof:
        return b""
    try:
        return decoder.decompress(data, _PIECE)
    except (zlib.error, zstd.ZstdError):
        raise InvalidRequest(
            f"The body could not be decoded: its Content-Encoding is {name}, but its data is not."
        ) from None
