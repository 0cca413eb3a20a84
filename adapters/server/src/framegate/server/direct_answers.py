"""Turn what handlers return into JSON, as Litestar does, without its response objects."""

from typing import Any, cast

import msgspec
from litestar import Response
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.serialization import get_serializer
from litestar.types import Send
from msgspec import Struct

_ONLY_JSON = ((b"content-type", MediaType.JSON.value.encode()),)
_SET_HERE = frozenset({"content-type", "content-length"})


class JsonAnswer(Struct, frozen=True):
    """An answer, with all headers but its length."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    async def send(self, send: Send) -> None:
        """Send the answer."""
        headers = [*self.headers, (b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


class JsonAnswers(Struct, frozen=True):
    """Make the answers of one handler. ``status`` and ``headers`` are those that it declares."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    encoder: msgspec.json.Encoder

    def encode(self, data: Any) -> JsonAnswer | None:
        """Return the answer for what the handler has returned.

        It is None for what isn't plainly JSON, and for what can't be encoded: Litestar says why.
        """
        status, headers = self.status, self.headers
        if type(data) is Response:
            response = cast("Response[Any]", cast("object", data))
            if not self._is_plain(response):
                return None
            status = response.status_code or status
            headers = (*map(_encoded, response.headers.items()), *headers)
            data = response.content
        if not isinstance(data, (Struct, dict, list)):
            return None
        try:
            return JsonAnswer(status, headers, self.encoder.encode(data))
        except (AttributeError, TypeError, ValueError):
            return None

    def _is_plain(self, response: Response[Any]) -> bool:
        """Return whether a response adds nothing to its content but headers of its own and a status."""
        status, media_type, headers = response.status_code, response.media_type, response.headers
        return (
            not (response.cookies or response.background or response.response_type_encoders)
            and (status is None or _allows_body(status))
            and (media_type is None or media_type == MediaType.JSON)
            and (
                not headers or (self.headers == _ONLY_JSON and _SET_HERE.isdisjoint(map(str.lower, headers)))
            )
            and all(isinstance(value, str) for value in headers.values())
        )


def json_answers(handler: HTTPRouteHandler) -> JsonAnswers | None:
    """Return how a handler's answers are made; None if only Litestar knows."""
    layers: Any = handler.ownership_layers
    if (
        handler.media_type not in (MediaType.JSON, "")  # none is given where it returns responses
        or not _allows_body(handler.status_code)
        or handler.background
        or handler.resolve_response_class() is not Response
        or Response.type_encoders
        or handler.resolve_response_cookies()
        or any(layer.after_request for layer in layers)
    ):
        return None
    headers = [
        _encoded((header.name, header.value))
        for header in handler.resolve_response_headers()
        if not header.documentation_only and isinstance(header.value, str)
    ]
    if not _SET_HERE.isdisjoint(name.decode("latin-1") for name, _ in headers):
        return None
    encoder = msgspec.json.Encoder(enc_hook=get_serializer(handler.resolve_type_encoders()))
    return JsonAnswers(handler.status_code, (*headers, *_ONLY_JSON), encoder)


def _encoded(header: tuple[str, str]) -> tuple[bytes, bytes]:
    name, value = header
    return name.lower().encode("latin-1"), value.encode("latin-1")


def _allows_body(status: int) -> bool:
    return status >= 200 and status not in (204, 304)
