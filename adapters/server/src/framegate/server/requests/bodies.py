"""Read a request's body into a dialect's own type, and list every error in it.

JSON is read strictly unless a dialect's original is lax: a number is not a string, ``5.0`` is not an integer.
A null for an optional field means that the field is omitted. An unknown field is an error or is ignored, as
the dialect's setting ``unknown_fields`` says; the names of ignored ones are in the response's Warning header.
Litestar's own parsing stops at the first error, so handlers take the request and call `read_json` or
`read_form`; `documents` declares that body for the API docs.
"""

import codecs
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Self, TypeAlias, TypeVar, cast

import msgspec
from litestar import Request
from litestar.datastructures import FormMultiDict, State, UploadFile
from litestar.exceptions import InternalServerException
from msgspec import Struct
from msgspec.structs import asdict

from framegate.core.concurrency import PARSER_THREADS
from framegate.core.errors import InvalidMedia
from framegate.server.errors.error_info import ClientDisconnected, UnsupportedContentType
from framegate.server.errors.field_errors import (
    FieldError,
    InvalidFields,
    Rules,
    body_errors,
    shortened,
    value_errors,
)
from framegate.server.requests.body_limits import (
    LARGE,
    check_json_size,
    max_json_bytes,
    takes_media,
    too_large,
)
from framegate.server.requests.forms import URLENCODED, parse_form
from framegate.server.requests.lax import relax, relax_json
from framegate.server.requests.pruning import prune
from framegate.server.requests.unknown_fields import note_ignored_fields, unknown_fields_policy

HTTPRequest: TypeAlias = Request[Any, Any, State]
Model = TypeVar("Model", bound=Struct)

JSON = "application/json"
MULTIPART = "multipart/form-data"
FORMS = (MULTIPART, URLENCODED)
_OPT = "request_body"


class RequestBody(Struct, frozen=True):
    """The body that a handler reads, for the API docs.

    ``files`` are a form's uploads: by name, whether each is required. With ``or_json`` the body may also be
    JSON, without files.
    """

    model: type[Struct]
    content_type: str
    examples: Mapping[str, Any]
    files: Mapping[str, bool]
    or_json: bool = False

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: Litestar copies a handler's ``opt`` again and again, and this never changes."""
        return self


def documents(
    model: type[Struct],
    examples: Mapping[str, Any] | None = None,
    *,
    content_type: str = JSON,
    files: Mapping[str, bool] | None = None,
    or_json: bool = False,
) -> dict[str, Any]:
    """Return the ``opt`` of a handler that reads ``model``; ``examples`` are bodies by their title."""
    return {_OPT: RequestBody(model, content_type, examples or {}, files or {}, or_json)}


def documented(opt: Mapping[str, Any]) -> RequestBody | None:
    """Return the `RequestBody` that `documents` has put into ``opt``."""
    return opt.get(_OPT)


async def read_json(
    request: HTTPRequest, model: type[Model], rules: Rules | None = None, *, lax: bool = False
) -> Model:
    """Read a JSON body as ``model``, and keep it as ``request.state.body`` for error messages.

    ``rules`` check what the type can't express. With ``lax``, strings may be numbers and booleans, as
    pydantic takes them, and an empty one for a field that is not a text counts as omitted.

    Raises:
        InvalidFields: The body is not JSON, has too many values, or fields are wrong; all of them are named.
        UnsupportedContentType: The header names a content type other than JSON.
        BodyTooLarge: The body has more text than one of ``model`` may have; see `body_limits`.
        ClientDisconnected: The client disconnected before the body was complete.
    """
    kind = request.content_type[0]
    if kind and kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedContentType(f"The body should be JSON (Content-Type: {JSON}), not {kind[:100]!r}.")
    with _noticing_disconnects():
        raw = await _received(request, max_json_bytes(model))
    if len(raw) <= LARGE:
        return _parse_json(request, raw, model, rules, lax=lax)
    return await PARSER_THREADS.run(_parse_json, request, raw, model, rules, lax=lax)


async def _received(request: HTTPRequest, max_bytes: int | None) -> bytes:
    pieces: list[bytes] = []
    total = 0
    async for piece in request.stream():
        pieces.append(piece)
        total += len(piece)
        if max_bytes is not None and total > max_bytes:
            raise too_large(media=False)
    return b"".join(pieces).removeprefix(codecs.BOM_UTF8)


def _parse_json(
    request: HTTPRequest, raw: bytes, model: type[Model], rules: Rules | None, *, lax: bool
) -> Model:
    check_json_size(raw)
    decoder = _decoder(model, strict=not lax)
    try:
        body = cast(Model, decoder.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = prune(request, raw, model)
        if lax:
            raw = relax_json(raw, model)
        try:
            body = cast(Model, decoder.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidFields(body_errors(raw, model, error, rules, strict=not lax)) from None
    if rules and (found := list(rules(asdict(body)))):
        raise InvalidFields(found)
    request.state.body = body
    return body


@cache
def _decoder(model: type[Struct], *, strict: bool) -> msgspec.json.Decoder[Struct]:
    return msgspec.json.Decoder(model, strict=strict)


def convert_fields(
    request: HTTPRequest,
    given: Mapping[str, Any],
    model: type[Model],
    rules: Rules | None = None,
    *,
    found: Iterable[FieldError] = (),
) -> Model:
    """Return a form's fields, texts or nested ones, as ``model``, and keep it as ``request.state.body``.

    ``found`` are errors that are known already; no second one is reported for their fields.

    Raises:
        InvalidFields: Fields are wrong; all of them are named.
    """
    values = relax(msgspec.json.decode(prune(request, msgspec.json.encode(given), model)), model)
    errors = list(found)
    wrong = {error.location[0] for error in errors}
    errors += [
        error for error in value_errors(values, model, rules, strict=False) if error.location[0] not in wrong
    ]
    if errors:
        raise InvalidFields(errors)
    body = msgspec.convert(values, model, strict=False)
    request.state.body = body
    return body


async def read_form_values(
    request: HTTPRequest, model: type[Struct], files: Collection[str]
) -> FormMultiDict:
    """Read the form of a ``model``, and return its texts and uploads; ``files`` are names of file fields.

    The value of a part that is typed as JSON may also be an object or a list.

    Raises:
        InvalidFields: The form could not be parsed, or has too many fields.
        UnsupportedContentType: The header names a content type other than those of forms.
        BodyTooLarge: The body, or its texts, are larger than forms of its type may be.
        ClientDisconnected: The client disconnected before the body was complete.
    """
    kind = request.content_type[0]
    if kind not in FORMS:
        raise UnsupportedContentType(
            f"The body should be a form (Content-Type: {MULTIPART}), not {kind[:100]!r}."
        )
    with _noticing_disconnects():
        return await parse_form(request, files, media=takes_media(model))


@contextmanager
def _noticing_disconnects() -> Generator[None]:
    try:
        yield
    except InternalServerException as error:  # Litestar reports a disconnect this way
        raise ClientDisconnected("The client disconnected before its request was complete.") from error


async def read_form(
    request: HTTPRequest,
    model: type[Model],
    files: Mapping[str, bool],
    rules: Rules | None = None,
) -> tuple[Model, dict[str, UploadFile]]:
    """Read a form, and return its fields as ``model`` and its uploads by name.

    ``files`` are the uploads that it can have: by name, whether each is required. An empty text for a field
    that is not a text counts as an omitted field, because browsers send all fields.

    Raises:
        InvalidFields: Fields or files are missing or wrong; all of them are named.
        UnsupportedContentType, ClientDisconnected: As for `read_form_values`.
    """
    form = await read_form_values(request, model, files)
    texts: dict[str, Any] = {}
    uploads: dict[str, UploadFile] = {}
    found: list[FieldError] = []
    for name in dict.fromkeys(form.keys()):
        values: list[Any] = form.getall(name)
        if len(values) > 1:
            found.append(FieldError((name,), "value_error", "This field is given more than once"))
        elif isinstance(values[0], UploadFile):
            uploads[name] = values[0]
        else:
            texts[name] = values[0]
    for name, required in files.items():
        if text := texts.pop(name, None):
            found.append(FieldError((name,), "file_type", "This should be an uploaded file", shortened(text)))
        elif required and name not in uploads:
            found.append(FieldError((name,), "missing", "This file is required"))
    found += unknown_files(request, uploads.keys() - files.keys())
    body = convert_fields(request, texts, model, rules, found=found)
    return body, {name: upload for name, upload in uploads.items() if name in files}


def unknown_files(request: HTTPRequest, names: Collection[str]) -> list[FieldError]:
    """Return the errors for uploads that a form doesn't have; none if unknown fields are ignored."""
    if unknown_fields_policy(request) == "refuse":
        return [FieldError((name,), "extra_forbidden", "There is no such file field") for name in names]
    note_ignored_fields(request, names)
    return []


async def upload_bytes(upload: UploadFile, field: str, max_bytes: int) -> bytes:
    """Return the content of an upload.

    Raises:
        InvalidMedia: It is larger than ``max_bytes``.
    """
    data = await upload.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InvalidMedia(f"The file is larger than {max_bytes:,} bytes.", param=field)
    return data
