"""Calls that stay open until their work is done."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import JobNotFound
from framegate.core.jobs import Job
from framegate.core.service import JobService
from framegate.server.errors.error_info import ClientDisconnected, ServerStopping, TimedOut
from framegate.server.requests.bodies import HTTPRequest

Made = TypeVar("Made")


async def wait_for_job(request: HTTPRequest, service: JobService, job: Job, seconds: float) -> Job:
    """Wait until the job has finished, and return it.

    The job is cancelled after ``seconds``, when the client disconnects, and when the server stops. The
    request's body must have been read.

    Raises:
        TimedOut, ClientDisconnected, ServerStopping, NoWorker: The job was cancelled.
    """

    async def finished() -> Job:
        async with asyncio.timeout(seconds):
            return await service.wait(job.id)

    try:
        return await while_connected(request.receive, finished())
    except TimeoutError:
        await cancel_job(service, job)
        raise TimedOut(f"The job took longer than {seconds:g} s and was cancelled.") from None
    except (ClientDisconnected, ServerStopping):
        await asyncio.shield(cancel_job(service, job))
        raise


async def while_connected(receive: Receive, work: Coroutine[Any, Any, Made]) -> Made:
    """Return the result of ``work``. When this raises, ``work`` has been cancelled and has ended.

    Raises:
        ClientDisconnected: The client has disconnected.
        ServerStopping: The server cancels its open calls.
    """
    worker = asyncio.create_task(work)
    watcher = asyncio.create_task(_disconnected(receive))
    try:
        try:
            done, _ = await asyncio.wait({worker, watcher}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if task := asyncio.current_task():
                task.uncancel()  # so that the client still gets a response
            raise ServerStopping from None
        if worker in done:
            return worker.result()
        raise ClientDisconnected("The client has disconnected.")
    finally:
        await cancel_and_wait([worker, watcher])
        for task in (worker, watcher):
            with contextlib.suppress(asyncio.CancelledError):
                task.result()


async def cancel_job(service: JobService, job: Job) -> None:
    """Cancel a job, which may have been deleted meanwhile."""
    with contextlib.suppress(JobNotFound):
        await service.cancel(job.id)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
