"""Follow a job: its states as server-sent events."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Hashable
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

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 10.0
"""How long a stream may be silent, and how often a waiting job's place is looked up: it moves up without a
change of its own record."""
_ENCODED = 64
"""The states that are kept encoded; those who watch the same job see it one right after the other."""


class JobEvents:
    """Encode the states of jobs as events, each once for all clients to whom it looks the same."""

    def __init__(self, services: CoreServices, objects: JobObjects) -> None:
        self._jobs = services.jobs
        self._objects = objects
        self._encoded: OrderedDict[tuple[str, Hashable], tuple[Job, bytes]] = OrderedDict()

    async def follow(self, request: HTTPRequest, job: Job, owner: str | None) -> AsyncGenerator[bytes, None]:
        """Yield a job's state at once and after each change; an error is the last event."""
        shown = b""
        view = self._objects.view(request)
        try:
            async with aclosing(self._jobs.watch(job.id, owner, again_after=HEARTBEAT_SECONDS)) as states:
                async for now in states:
                    event = await self._encode(request, now, view)
                    if event != shown:
                        yield event
                    shown = event
        except asyncio.CancelledError:
            # The server stops, or the client has disconnected and nobody reads this.
            yield _error(request, ServerStopping())
        except Exception as error:  # sent to the client, as errors before the stream are
            yield _error(request, error)

    async def _encode(self, request: HTTPRequest, job: Job, view: Hashable) -> bytes:
        key = job.id, view
        known, event = self._encoded.get(key, (None, b""))
        if known is not job or job.state == JobState.QUEUED:
            event = _event(b"job", msgspec.json.encode(await self._objects.show(request, job)))
            self._encoded[key] = job, event
            if len(self._encoded) > _ENCODED:
                self._encoded.popitem(last=False)
        return event


def _error(request: HTTPRequest, error: Exception) -> bytes:
    """Return the event of an error that ends a stream, and log the error if nobody foresaw it."""
    error_info = error_info_of(error)
    if error_info.status == 500 and error_info.error is None:
        log.error("stream_failed", exc_info=error)
    return _event(b"error", msgspec.json.encode(problem_of(error_info, request_id_of(request.scope))))


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: " + name + b"\ndata: " + data + b"\n\n"
