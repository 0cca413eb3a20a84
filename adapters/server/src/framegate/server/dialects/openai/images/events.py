"""Turn a job into the stream of an images call: partial images, then the images."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from framegate.core.jobs import Job
from framegate.core.wiring import CoreServices
from framegate.server.dialects.openai.errors import stream_error_body
from framegate.server.dialects.openai.images.files import ImageFiles, encoding_of
from framegate.server.dialects.openai.images.schemas import CompletedEvent, PartialEvent, Quality
from framegate.server.errors.error_info import ServerStopping
from framegate.server.requests.jobs import require_result
from framegate.server.responses.waiting import cancel_job

Call: TypeAlias = Literal["image_generation", "image_edit"]
Event: TypeAlias = PartialEvent | CompletedEvent


class _Words(Struct, frozen=True):
    partial: Literal["image_generation.partial_image", "image_edit.partial_image"]
    completed: Literal["image_generation.completed", "image_edit.completed"]


_WORDS: dict[Call, _Words] = {
    "image_generation": _Words("image_generation.partial_image", "image_generation.completed"),
    "image_edit": _Words("image_edit.partial_image", "image_edit.completed"),
}


async def events(
    services: CoreServices, files: ImageFiles, job: Job, *, call: Call, quality: Quality
) -> AsyncGenerator[Event, None]:
    """Yield a job's partial images as they come, then its images; closing the generator cancels the job.

    Raises:
        JobCancelled, GenerationFailed, NoWorker: There are no images.
    """
    words, encoding, shot = _WORDS[call], encoding_of(job.labels), job.shots[0]
    size = f"{shot.width}x{shot.height}"
    done, shown = job, 0
    try:
        async with aclosing(services.jobs.await_result(job)) as states:
            async for now in states:
                done = now
                while data := await services.results.partial_image(
                    now, shown, encoding.variant, quality=encoding.compression
                ):
                    yield PartialEvent(
                        type=words.partial,
                        b64_json=base64.b64encode(data).decode(),
                        partial_image_index=shown,
                        created_at=int(time.time()),
                        output_format=encoding.format,
                        quality=quality,
                        size=size,
                    )
                    shown += 1
    finally:
        if not done.state.finished:
            await asyncio.shield(cancel_job(services.jobs, job))
    require_result(done)
    for artifact in done.artifacts:
        yield CompletedEvent(
            type=words.completed,
            b64_json=await files.base64(done, artifact),
            created_at=int(time.time()),
            output_format=encoding.format,
            quality=quality,
            size=f"{artifact.width}x{artifact.height}",
            seed=done.seed,
        )


class TypedEvent(Protocol):
    """An event that says in its body what it is."""

    @property
    def type(self) -> str:
        """The name of the event."""
        ...


def keepalive() -> bytes:
    """Return a comment for a stream that would be silent."""
    return b": working\n\n"


async def encode_events(stream: AsyncGenerator[TypedEvent, None]) -> AsyncGenerator[bytes, None]:
    """Yield the events as they are sent, after a comment; an error is the last event."""
    async with aclosing(stream):
        try:
            yield keepalive()
            async for event in stream:
                yield _encode(event.type, event)
        except asyncio.CancelledError:
            # The server stops, or the client has disconnected and nobody reads this.
            yield _encode("error", stream_error_body(ServerStopping()))
        except Exception as error:  # sent to the client, as errors before the stream are
            yield _encode("error", stream_error_body(error))


def _encode(name: str, body: object) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
