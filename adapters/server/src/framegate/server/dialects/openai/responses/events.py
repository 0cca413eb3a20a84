"""Turn the events of an images call into the stream of a response."""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

from msgspec.structs import replace

from framegate.core.jobs import Job
from framegate.core.service import JobService
from framegate.server.dialects.openai.errors import stream_error_body
from framegate.server.dialects.openai.images.events import Event as ImageEvent
from framegate.server.dialects.openai.images.schemas import PartialEvent
from framegate.server.dialects.openai.responses.schemas import (
    CallEvent,
    ImageCall,
    ItemEvent,
    PartialImageEvent,
    ResponseError,
    ResponseEvent,
    ResponseObject,
    Usage,
)
from framegate.server.responses.waiting import cancel_job

Event: TypeAlias = ResponseEvent | ItemEvent | CallEvent | PartialImageEvent


async def response_events(
    jobs: JobService,
    job: Job,
    images: AsyncGenerator[ImageEvent, None],
    response: ResponseObject,
    call: ImageCall,
) -> AsyncGenerator[Event, None]:
    """Yield the events of ``response``, whose first image is ``call``; a failure is the last event.

    ``images`` are those of ``job``, which closing the generator cancels.
    """
    over = False
    try:
        async with aclosing(_events(images, response, call)) as stream:
            async for event in stream:
                yield event
        over = True
    finally:
        # `images` cancels it too, but not if the client leaves before the first of them was asked for.
        if not over:
            await asyncio.shield(cancel_job(jobs, job))


async def _events(
    images: AsyncGenerator[ImageEvent, None], response: ResponseObject, call: ImageCall
) -> AsyncGenerator[Event, None]:
    count = itertools.count()
    async with aclosing(images):
        yield ResponseEvent(type="response.created", sequence_number=next(count), response=response)
        yield ResponseEvent(type="response.in_progress", sequence_number=next(count), response=response)
        for event in _beginning(call, 0, count):
            yield event
        done: list[ImageCall] = []
        try:
            async for made in images:
                index = len(done)
                item = call if index == 0 else replace(call, id=f"{call.id}_{index + 1}")
                if isinstance(made, PartialEvent):
                    yield PartialImageEvent(
                        sequence_number=next(count),
                        output_index=index,
                        item_id=item.id,
                        partial_image_index=made.partial_image_index,
                        partial_image_b64=made.b64_json,
                        output_format=made.output_format,
                        quality=made.quality,
                        size=made.size,
                    )
                    continue
                if index:
                    for event in _beginning(item, index, count):
                        yield event
                finished = replace(item, status="completed", result=made.b64_json, size=made.size)
                done.append(finished)
                yield CallEvent(
                    type="response.image_generation_call.completed",
                    sequence_number=next(count),
                    output_index=index,
                    item_id=item.id,
                )
                yield ItemEvent(
                    type="response.output_item.done",
                    sequence_number=next(count),
                    output_index=index,
                    item=finished,
                )
        except Exception as error:  # sent to the client, as errors before the stream are
            problem = stream_error_body(error).error
            failed = replace(
                response, status="failed", error=ResponseError("server_error", problem.message), output=done
            )
            yield ResponseEvent(type="response.failed", sequence_number=next(count), response=failed)
            return
    yield ResponseEvent(
        type="response.completed", sequence_number=next(count), response=completed(response, done)
    )


def completed(response: ResponseObject, output: list[ImageCall]) -> ResponseObject:
    """Return ``response`` with its images."""
    return replace(response, status="completed", completed_at=int(time.time()), output=output, usage=Usage())


def _beginning(item: ImageCall, index: int, count: "itertools.count[int]") -> list[Event]:
    return [
        ItemEvent(
            type="response.output_item.added", sequence_number=next(count), output_index=index, item=item
        ),
        CallEvent(
            type="response.image_generation_call.in_progress",
            sequence_number=next(count),
            output_index=index,
            item_id=item.id,
        ),
        CallEvent(
            type="response.image_generation_call.generating",
            sequence_number=next(count),
            output_index=index,
            item_id=item.id,
        ),
    ]
