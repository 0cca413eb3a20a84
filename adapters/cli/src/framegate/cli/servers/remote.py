"""A remote server, by its own API."""

import asyncio
import mimetypes
import uuid
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import msgspec
from httpx_sse import EventSource, SSEError
from msgspec.structs import fields as fields_of
from msgspec.structs import replace

from framegate.cli.servers.download import download
from framegate.cli.servers.http import ConnectionFailed, HttpClient, ServerError, repeat
from framegate.cli.servers.protocol import InputFile, ResultFile
from framegate.cli.servers.views import CharacterView, JobView, ModelView
from framegate.core.errors import InvalidRequest, NotFound
from framegate.core.jobs import JobState
from framegate.core.ports import BytesSource, UrlSource
from framegate.core.types import MEDIA_KINDS, GenerationRequest

View = TypeVar("View", JobView, CharacterView, ModelView)
_PAGE = 100
_SILENCE = 30.0
"""Seconds after which a stream of events is taken for dead; it has a comment each 10 s."""
_RECONNECTS = 10
_RECONNECT_PAUSE = 1.0


class _JobsAnswer(msgspec.Struct):
    items: list[msgspec.Raw]
    next: str | None = None


@asynccontextmanager
async def open_remote(url: str, key: str) -> AsyncGenerator["RemoteServer"]:
    """Open the server at ``url``.

    Raises:
        ConfigError: URL or key can't be right.
    """
    client = HttpClient(url, key)
    try:
        yield RemoteServer(client)
    finally:
        await client.close()


class RemoteServer:
    """The jobs and characters of the key, on the server that ``client`` reaches."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def submit(self, request: GenerationRequest[InputFile]) -> JobView:
        """See `Server`; files are streamed."""
        fields = {
            field.name: value
            for field in fields_of(GenerationRequest)
            if field.name not in MEDIA_KINDS
            and (value := getattr(request, field.name)) != field.default
            and (value != "" or field.name == "negative_prompt")  # an empty one keeps the model's own away
        }
        # Sent a second time, it is answered with the job of the first.
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        async with AsyncExitStack() as stack:
            files: dict[str, Any] = {}
            for name, source in request.media.items():
                match source:
                    case UrlSource(url):
                        fields[name] = url
                    case BytesSource(data):
                        files[name] = (name, data)
                    case Path():
                        files[name] = (
                            source.name,
                            stack.enter_context(_open(name, source)),
                            _type_of(source),
                        )
            if files:
                body: dict[str, Any] = {
                    "data": {name: _as_form(value) for name, value in fields.items()},
                    "files": files,
                }
            else:
                body = {"json": fields}
            answer = await self._client.call(msgspec.Raw, "POST", "/jobs", headers=headers, **body)
        return self._view(answer)

    async def list_jobs(self, *, states: Collection[JobState], limit: int) -> Sequence[JobView]:
        """See `Server`."""
        found: list[JobView] = []
        after: str | None = ""
        while after is not None and len(found) < limit:
            params: list[tuple[str, str | int]] = [("state", state.value) for state in states]
            params.append(("limit", min(_PAGE, limit - len(found))))
            if after:
                params.append(("after", after))
            page = await self._client.call(_JobsAnswer, "GET", "/jobs", params=params)
            found += map(self._view, page.items)
            after = page.next or None
        return found

    async def get_job(self, job_id: str) -> JobView:
        """See `Server`."""
        answer = await self._client.call(msgspec.Raw, "GET", _path("jobs", job_id))
        return self._view(answer)

    async def watch_job(self, job_id: str) -> AsyncGenerator[JobView]:
        """See `Server`. Where the stream is lost, a new one begins with the present state."""
        job: JobView | None = None

        async def connect() -> tuple[JobView, AsyncGenerator[JobView]]:
            events = self._events(job_id)
            return await anext(events), events

        while job is None or not job.state.finished:
            if job is not None:
                await asyncio.sleep(_RECONNECT_PAUSE)
            now, events = await repeat(connect, attempts=_RECONNECTS)
            async with aclosing(events):
                with suppress(ConnectionFailed):
                    while True:
                        if job is None or now.document != job.document:
                            job = now
                            yield job
                        now = await anext(events)

    async def _events(self, job_id: str) -> AsyncGenerator[JobView]:
        """Yield the states that one stream brings; it always ends with `ConnectionFailed`."""
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        path = _path("jobs", job_id, "events")
        async with self._client.stream("GET", path, headers=headers, timeout=_SILENCE) as response:
            try:
                async for event in EventSource(response).aiter_sse():
                    if event.event == "job":
                        yield self._view(self._client.decode(msgspec.Raw, event.data))
            except SSEError:
                raise ServerError(f"{self._client.url} sends no events; check the URL.") from None
        raise ConnectionFailed(f"The connection to {self._client.url} was lost.")

    async def cancel_job(self, job_id: str) -> JobView:
        """See `Server`."""
        answer = await self._client.call(msgspec.Raw, "POST", _path("jobs", job_id, "cancel"))
        return self._view(answer)

    async def retry_job(self, job_id: str) -> JobView:
        """See `Server`."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        path = _path("jobs", job_id, "retry")
        answer = await self._client.call(msgspec.Raw, "POST", path, headers=headers)
        return self._view(answer)

    async def delete_job(self, job_id: str) -> None:
        """See `Server`."""
        await self._client.fetch("DELETE", _path("jobs", job_id))

    async def save_result(self, job: JobView, number: int, file: ResultFile) -> None:
        """See `Server`.

        The link in the job is not used: it may lead to a name that only others reach, and the key is for this
        server alone.
        """
        await download(self._client, _path("jobs", job.id, "results", str(number)), file)

    async def list_models(self) -> Sequence[ModelView]:
        """Return the names that requests may use."""
        rows = await self._rows("/models")
        return [self._decode(ModelView, row) for row in rows]

    async def list_characters(self) -> Sequence[CharacterView]:
        """See `Server`."""
        rows = await self._rows("/characters")
        return [self._decode(CharacterView, row) for row in rows]

    async def get_character(self, username: str) -> CharacterView:
        """See `Server`."""
        for character in await self.list_characters():
            if character.username == username:
                return character
        raise NotFound(f"There is no character @{username[:100]}.")

    async def delete_character(self, username: str) -> None:
        """See `Server`."""
        await self._client.fetch("DELETE", _path("characters", username))

    async def _rows(self, path: str) -> list[msgspec.Raw]:
        return await self._client.call(list[msgspec.Raw], "GET", path)

    def _decode(self, kind: type[View], raw: msgspec.Raw) -> View:
        return replace(self._client.decode(kind, bytes(raw)), document=msgspec.json.decode(raw))

    def _view(self, raw: msgspec.Raw) -> JobView:
        return self._decode(JobView, raw)


def _path(*parts: str) -> str:
    """Return a path of the API; whatever an id holds stays one part of it."""
    for part in parts:
        if part in ("", ".", ".."):
            raise InvalidRequest(f"{part!r} is not an id.")
    return "".join(f"/{quote(part, safe='~')}" for part in parts)


def _open(name: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequest(f"--{name}: {path} can't be read: {error.strerror}.") from None


def _type_of(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _as_form(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
