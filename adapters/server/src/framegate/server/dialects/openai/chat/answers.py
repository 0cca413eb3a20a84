"""Turn events into a chat's response: a stream of chunks, or one completion."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from enum import Enum
from typing import Any

import msgspec
from litestar import Response
from msgspec import UNSET, Struct, UnsetType

from framegate.core.errors import GenerationFailed
from framegate.server.dialects.openai.chat.schemas import (
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FirstDelta,
    Message,
    Usage,
)
from framegate.server.dialects.openai.errors import stream_error_body
from framegate.server.errors.error_info import ServerStopping
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.sse import EventStream
from framegate.server.responses.waiting import while_connected

_DONE = b"data: [DONE]\n\n"
_COUNTS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


class Progress(Struct, frozen=True):
    """A text to show during the generation."""

    text: str


class Result(Struct, frozen=True):
    """The result itself; the last of the events."""

    content: str


Events = AsyncGenerator[Progress | Result, None]


class StreamUsage(Enum):
    """What the chunks of a stream say about usage.

    In OpenAI's API they say nothing (ABSENT), unless the request asks for it: then they have null, and a last
    chunk without choices has the counts (LAST_CHUNK). In sora2api's document they have one count, and the
    result's chunk has all three (INCOMPLETE), which strict clients of OpenAI's API refuse.
    """

    ABSENT = "absent"
    LAST_CHUNK = "last chunk"
    INCOMPLETE = "incomplete"


def stream_usage(body: ChatRequest, default: StreamUsage) -> StreamUsage:
    """Return what a request asks for, or else the default of the dialect that answers it."""
    asked = body.stream_options is not None and body.stream_options.include_usage
    return StreamUsage.LAST_CHUNK if asked else default


async def answer(
    request: HTTPRequest, model: str, events: Events, *, stream: bool, usage: StreamUsage
) -> Response[Any]:
    """Return the response with the events, as a stream with that ``usage`` or as one completion.

    Raises:
        ClientDisconnected: The client has disconnected; ``events`` were closed.
    """
    if stream:
        chat = ChatStream(model, events, usage)
        return EventStream(chat.chunks(), chat.keepalive)
    content = await while_connected(request.receive, _content(events))
    return Response(
        Completion(
            id=_new_id(),
            created=int(time.time()),
            model=model,
            choices=[Choice(0, "stop", Message("assistant", content))],
            usage=Usage(),
        ),
        status_code=200,
    )


async def _content(events: Events) -> str:
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Result):
                return event.content
    raise GenerationFailed("The generation ended without a result.")


class ChatStream:
    """A stream of chunks; the last is always ``[DONE]``, even after an error."""

    def __init__(self, model: str, events: Events, usage: StreamUsage = StreamUsage.ABSENT) -> None:
        self._encoder = _ChunkEncoder(model, usage)
        self._events = events
        self._usage = usage

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks as they are sent."""
        encoder = self._encoder
        async with aclosing(self._events) as events:
            try:
                async for event in events:
                    yield encoder.encode(event)
                if self._usage is StreamUsage.LAST_CHUNK:
                    yield encoder.encode_usage()
            except asyncio.CancelledError:
                # The server stops, or the client has disconnected and nobody reads this.
                yield _encode(stream_error_body(ServerStopping()))
            except Exception as error:  # sent to the client, as errors before the stream are
                yield _encode(stream_error_body(error))
            yield _DONE

    def keepalive(self) -> bytes:
        """Return a chunk for a stream that would be silent."""
        return self._encoder.encode(Progress("Still working...\n"))


class _ChunkEncoder:
    """Encode the chunks of one stream."""

    def __init__(self, model: str, usage: StreamUsage) -> None:
        self._id = _new_id()
        self._created = int(time.time())
        self._model = model
        self._usage = usage
        self._delta: type[Delta] | type[FirstDelta] = FirstDelta

    def encode(self, event: Progress | Result) -> bytes:
        kind, self._delta = self._delta, Delta
        if isinstance(event, Progress):
            choice = ChunkChoice(0, kind(reasoning_content=event.text))
        else:
            choice = ChunkChoice(0, kind(content=event.content), "stop", "stop")
        return self._chunk([choice], self._usage_of(event))

    def encode_usage(self) -> bytes:
        return self._chunk([], _COUNTS)

    def _usage_of(self, event: Progress | Result) -> dict[str, int] | UnsetType | None:
        match self._usage:
            case StreamUsage.ABSENT:
                return UNSET
            case StreamUsage.LAST_CHUNK:
                return None
            case StreamUsage.INCOMPLETE:
                return {"prompt_tokens": 0} if isinstance(event, Progress) else _COUNTS

    def _chunk(self, choices: list[ChunkChoice], usage: dict[str, int] | UnsetType | None) -> bytes:
        return _encode(
            Chunk(id=self._id, created=self._created, model=self._model, choices=choices, usage=usage)
        )


def _encode(body: Struct) -> bytes:
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def _new_id() -> str:
    return f"chatcmpl-{uuid.uuid4().hex}"
