"""Parse forms: urlencoded ones, and multipart ones by RFC 7578.

A part is a file if it has a file name, or if it belongs to a file field and isn't text: some clients send
files without names. Litestar's own parser decodes all those as text.
"""

import binascii
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.datastructures import FormMultiDict, State, UploadFile
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from multipart import (  # type: ignore[import-untyped]  # Litestar's own parser
    MultipartSegment,
    ParserError,
    ParserLimitReached,
    PushMultipartParser,
)

from framegate.core.concurrency import PARSER_THREADS
from framegate.server.errors.error_info import BodyTooLarge
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.body_limits import (
    LARGE,
    MAX_PLAIN,
    TextSizes,
    is_media,
)

Text = TypeVar("Text", str, bytes)
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

FormValue: TypeAlias = Any
"""An upload, a text, or the plain value of a part that is JSON."""

URLENCODED = "application/x-www-form-urlencoded"
MAX_FIELDS = 1000
MAX_LARGE_PARTS = 200
"""The parts that don't fit into the memory of a form, each of which is an open file."""
MAX_URLENCODED = 4 * 2**20
"""The bytes of a urlencoded form, whose parsing takes many times its memory."""
MAX_ESCAPES = 400_000
"""The ``%XX`` of a urlencoded form, each of which becomes an object of its own for a moment."""

_IN_MEMORY = 64 * 1024
"""The bytes of a form's parts that stay in memory while it arrives; further parts are in files."""
_JSON = "application/json"
_UNTYPED = "application/octet-stream"
_TEXT = re.compile(r"text/.*|application/(?:.*\+)?json|application/x-www-form-urlencoded")
_QUOTED = re.compile(
    r'"(?:\\.|[^"\\])*"?'
)  # an open quote takes the rest, so that no second scan begins in it
_EXTENDED_FILENAME = re.compile(r";\s*filename\*[^;=]*=", re.IGNORECASE)  # RFC 5987, RFC 2231
_CHARSETS = frozenset(
    (
        *("utf-8", "utf8", "utf-16", "utf-16be", "utf-16le"),
        *("iso-8859-1", "iso-8859-2", "iso-8859-5", "iso-8859-15", "latin-1", "latin1", "koi8-r"),
        *("windows-1250", "windows-1251", "windows-1252", "cp1252"),
        *("big5", "euc-jp", "euc-kr", "gb18030", "gb2312", "gbk", "shift_jis"),
    )
)
"""Python's codecs can do more, and some of them in quadratic time."""
_ENCODINGS: Mapping[str, Callable[[bytes], bytes]] = {
    "base64": binascii.a2b_base64,
    "quoted-printable": binascii.a2b_qp,
}
_UNENCODED = ("", "7bit", "8bit", "binary")
_STATE = "uploads"


def close_uploads(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that the uploads of a request are closed when it ends."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        uploads: list[UploadFile] = []
        scope.setdefault("state", {})[_STATE] = uploads
        try:
            await app(scope, receive, send)
        finally:
            for upload in uploads:
                await upload.close()

    return closing


async def parse_form(
    request: Request[Any, Any, State], files: Collection[str], *, media: bool
) -> FormMultiDict:
    """Return the fields of a form; ``files`` are the names of those that are files.

    With ``media`` its texts may be base64 or data URIs. A JSON null counts as an omitted field.

    Raises:
        InvalidFields: The form can't be parsed, or has too many fields; a text has an unknown encoding.
        BodyTooLarge: The form's texts, or the urlencoded form, are larger than they may be.
    """
    kind, parameters = request.content_type
    if kind == URLENCODED:
        return FormMultiDict(await _urlencoded_fields(request, media=media))
    if not (boundary := parameters.get("boundary")):
        raise _invalid("its Content-Type has no boundary")
    texts = TextSizes(media=media)
    # No text is read before the form is complete: until then it has no share of the memory for large bodies.
    parts = [part async for part in _received_parts(request, boundary)]
    return FormMultiDict(
        [
            (part.name, value)
            for part in parts
            if (value := await part.value(texts, is_file_field=part.name in files)) is not None
        ]
    )


async def _urlencoded_fields(request: Request[Any, Any, State], *, media: bool) -> list[tuple[str, str]]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_URLENCODED:
            raise BodyTooLarge(
                f"The request body is too large: a urlencoded form may have {MAX_URLENCODED:,} bytes; "
                f"send a larger one as multipart/form-data."
            )
    if body.count(b"&") >= MAX_FIELDS:
        raise _too_many_fields()
    if body.count(b"%") > MAX_ESCAPES:
        raise BodyTooLarge(
            f"The request body is too large: a urlencoded form may have {MAX_ESCAPES:,} characters that are "
            f"encoded as %XX; send a larger one as multipart/form-data."
        )
    texts = TextSizes(media=media)
    try:
        text = body.decode()
        fields = await PARSER_THREADS.run(parse_qsl, text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise _invalid("it is not valid UTF-8") from None
    for _, value in fields:
        await texts.add(value.encode())
    return fields


class _Part:
    """A part of a multipart form, as it is received."""

    def __init__(self, number: int, segment: MultipartSegment, upload: UploadFile) -> None:
        self.upload = upload
        self.size = 0
        self.name = (segment.name or "").encode("latin-1").decode("utf-8", "replace")
        self._number = number
        self._segment = segment

    async def value(self, texts: TextSizes, *, is_file_field: bool) -> FormValue:
        """Return the part's upload, its text, or its plain value if it is JSON and not a scalar."""
        await self._decode()
        if self._has_filename():
            return self.upload
        kind = self._segment.content_type or "text/plain"
        is_text = _TEXT.fullmatch(kind) is not None
        if self._segment.bytes_received and not is_text and (is_file_field or kind != _UNTYPED):
            return self.upload
        if not is_file_field:
            texts.require_possible(self.size)
        content = await self.upload.read()
        # As text it would be too large, and take up to four times its bytes.
        is_text = not is_file_field or len(content) <= MAX_PLAIN or is_media(content)
        if is_text and not is_file_field:
            await texts.add(content)
        charset = (self._segment.charset or "utf-8").lower()
        text = await _in_thread_if_large(_decoded, content, charset) if is_text else None
        if text is None or (is_file_field and "\0" in text):
            if is_file_field:
                await self.upload.seek(0)
                return self.upload
            raise InvalidFields([self._not_text(charset)])
        if is_file_field:
            await texts.add(content)
        if kind != _JSON:
            return text
        texts.add_values(content)
        return await _in_thread_if_large(_plain, text)

    async def write(self, data: bytes | bytearray) -> None:
        """Add what has been received of the part."""
        self.size += len(data)
        await self.upload.write(bytes(data))

    async def _decode(self) -> None:
        encoding = self._header("Content-Transfer-Encoding").strip().lower()
        if encoding in _UNENCODED:
            return
        if not (decode := _ENCODINGS.get(encoding)):
            raise _invalid(
                f"part {self._number} has the Content-Transfer-Encoding {encoding[:50]!r}; send its bytes as "
                "they are"
            )
        try:
            content = await PARSER_THREADS.run(decode, await self.upload.read())
        except binascii.Error:
            raise _invalid(f"part {self._number} is not valid {encoding}") from None
        await self.upload.seek(0)
        self.upload.file.truncate()
        await self.upload.write(content)
        await self.upload.seek(0)
        self.size = len(content)

    def _has_filename(self) -> bool:
        header = _QUOTED.sub("", self._header("Content-Disposition"))
        return bool(self._segment.filename or _EXTENDED_FILENAME.search(header))

    def _header(self, name: str) -> str:
        return cast("str | None", self._segment.header(name)) or ""

    def _not_text(self, charset: str) -> FieldError:
        known = charset in _CHARSETS or charset in ("ascii", "us-ascii")
        what = f"Input should be text in {charset}" if known else f"The charset {charset[:50]!r} is not known"
        hint = "the Content-Type of a form's part may name another, such as text/plain; charset=iso-8859-1"
        return FieldError((self.name,), "string_unicode", f"{what}; {hint}")


async def _received_parts(request: Request[Any, Any, State], boundary: str) -> AsyncIterator[_Part]:
    """Yield the parts, each when it has been received as a whole.

    Raises:
        InvalidFields: They can't be parsed, or there are too many.
    """
    parser = PushMultipartParser(boundary, max_segment_count=MAX_FIELDS, header_charset="latin-1")
    uploads: list[UploadFile] = request.scope["state"].setdefault(_STATE, [])
    parts = large = 0
    room, received = _IN_MEMORY, False
    part: _Part | None = None
    try:
        async for chunk in request.stream():
            received = received or bool(chunk)
            for event in parser.parse(chunk) if chunk else ():
                if isinstance(event, MultipartSegment):
                    parts += 1
                    upload = UploadFile(
                        event.content_type or _UNTYPED,
                        event.filename or "upload",
                        max_spool_size=max(room, 1),
                    )
                    uploads.append(upload)
                    part = _Part(parts, event, upload)
                elif part and event:
                    await part.write(event)
                elif part:
                    room -= 0 if part.upload.rolled_to_disk else part.size
                    large += part.upload.rolled_to_disk
                    if large > MAX_LARGE_PARTS:
                        raise _too_many_large_parts()
                    await part.upload.seek(0)
                    yield part
        if received:
            parser.close()
    except ParserLimitReached as error:
        if "segment count" in str(error):
            raise _too_many_fields() from None
        raise _invalid(f"the headers of part {parts + 1} are too long") from None
    except ParserError as error:
        raise _invalid(f"{str(error)[:1].lower()}{str(error)[1:200]}") from None


async def _in_thread_if_large(
    work: Callable[Concatenate[Text, Parameters], Result],
    text: Text,
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    if len(text) <= LARGE:
        return work(text, *args, **kwargs)
    return await PARSER_THREADS.run(work, text, *args, **kwargs)


def _decoded(content: bytes, charset: str) -> str | None:
    if charset in ("ascii", "us-ascii"):
        charset = "utf-8"
    if content.isascii() and charset in _CHARSETS and not charset.startswith("utf-16"):
        return content.decode("ascii")  # at once, where the codecs of some charsets take seconds for 100 MB
    try:
        return content.decode(charset) if charset in _CHARSETS else None
    except UnicodeDecodeError:
        return None


def _plain(text: str) -> FormValue:
    """Return the value of a JSON text; scalars, which fields of every type take as texts, stay texts."""
    try:
        value: FormValue = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if isinstance(value, bool | int | float) else value


def _too_many_fields() -> InvalidFields:
    return InvalidFields([FieldError((), "form_invalid", f"The form has more than {MAX_FIELDS} fields")])


def _too_many_large_parts() -> InvalidFields:
    message = f"The form has more than {MAX_LARGE_PARTS} files and long texts"
    return InvalidFields([FieldError((), "form_invalid", message)])


def _invalid(reason: str) -> InvalidFields:
    return InvalidFields(
        [FieldError((), "form_invalid", f"The body could not be parsed as a form: {reason}")]
    )
