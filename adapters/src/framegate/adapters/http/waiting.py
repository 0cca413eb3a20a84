"""Calls that stay open until their job is done."""

import asyncio
import contextlib

from framegate.adapters.http.bodies import HTTPRequest
from framegate.adapters.http.problems import ClientGone, TimedOut
from framegate.core.errors import JobNotFound
from framegate.core.jobs import Job
from framegate.core.service import JobService


async def wait_for_job(request: HTTPRequest, service: JobService, job: Job, timeout: float) -> Job:  # noqa: ASYNC109 # a limit of the dialect's, cancelling the job
    """The finished ``job``. It is cancelled when ``timeout`` seconds are over, when the client hangs up, and
    when the server stops. The request's body must have been read.

    Raises:
        TimedOut, ClientGone: the job was cancelled.
    """
    waiter = asyncio.create_task(service.wait(job.id))
    watcher = asyncio.create_task(_disconnected(request))
    try:
        done, _ = await asyncio.wait({waiter, watcher}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if waiter in done:
            return waiter.result()
        await _cancel(service, job)
        if watcher in done:
            raise ClientGone("The client has gone; the job was cancelled.")
        raise TimedOut(f"The job took longer than {timeout:g} s and was cancelled.")
    except asyncio.CancelledError:
        await asyncio.shield(_cancel(service, job))
        raise
    finally:
        for task in (waiter, watcher):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _disconnected(request: HTTPRequest) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel(service: JobService, job: Job) -> None:
    with contextlib.suppress(JobNotFound):
        await service.cancel(job.id)
