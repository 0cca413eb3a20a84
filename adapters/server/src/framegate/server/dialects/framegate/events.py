"""Follow a job: its states as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import structlog

from framegate.core.jobs import Job, JobState
from framegate.core.wiring import CoreServices
from framegate.server.dialects.framegate.answers import JobObjects
from framegate.server.errors.error_info import ServerStopping, error_info_of
from framegate.server.errors.problem import problem_of
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.sse import with_keepalives

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10.0
_PAUSE = 0.2
"""The seconds between two events."""


async def job_events(
    request: HTTPRequest, services: CoreServices, objects: JobObjects, job: Job, owner: str | None
) -> AsyncGenerator[bytes, None]:
    """Yield a job's state at once and after each change, and a comment where nothing else is to be sent.

    An error that ends the stream is its last event.
    """
    shown = b""
    states = _paced(services.jobs.watch(job.id, owner))
    try:
        async with aclosing(with_keepalives(states, HEARTBEAT_SECONDS)) as paused:
            async for now in paused:
                job = now or job
                if now is None and job.state != JobState.QUEUED:
                    yield b": waiting\n\n"
                    continue
                # Whoever waits moves up without a change of its own record.
                text = msgspec.json.encode(await objects.show(request, job))
                yield b": waiting\n\n" if text == shown else _event(b"job", text)
                shown = text
    except asyncio.CancelledError:
        # The server stops, or the client has disconnected and nobody reads this.
        yield _error(request, ServerStopping())
    except Exception as error:  # sent to the client, as errors before the stream are
        yield _error(request, error)


async def _paced(states: AsyncGenerator[Job, None]) -> AsyncGenerator[Job, None]:
    """Yield a job's states, leaving out those that are outdated before the next may be sent."""
    async with aclosing(states):
        async for job in states:
            yield job
            if not job.state.finished:
                await asyncio.sleep(_PAUSE)


def _error(request: HTTPRequest, error: Exception) -> bytes:
    """Return the event of an error that ends a stream, and log the error if nobody foresaw it."""
    error_info = error_info_of(error)
    if error_info.status == 500 and error_info.error is None:
        log.error("stream_failed", exc_info=error)
    return _event(b"error", msgspec.json.encode(problem_of(error_info, request_id_of(request.scope))))


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"
