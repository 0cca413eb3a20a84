"""Turn a job into the events of a chat."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Literal, TypeAlias

from framegate.core.jobs import Job, JobState
from framegate.core.service import JobService
from framegate.server.dialects.openai.chat.answers import Events, Progress, Result
from framegate.server.requests.jobs import require_result
from framegate.server.responses.waiting import cancel_job

OnDisconnect: TypeAlias = Literal["cancel", "keep"]
"""What happens to a job when the client that waits for it disconnects."""
BEGINS = "**Generation Process Begins**\n\nInitializing generation request...\n"


async def job_events(
    service: JobService,
    job: Job,
    *,
    opening: Sequence[str],
    content: Callable[[Job], Awaitable[str]],
    on_disconnect: OnDisconnect,
) -> Events:
    """Yield a job's progress, then its result; closing the generator may cancel the job.

    ``opening`` are texts to begin with; ``content`` returns the finished job's result for people.

    Raises:
        JobCancelled, GenerationFailed, NoWorker: There is no result.
    """
    done = job
    try:
        for text in (BEGINS, *opening):
            yield Progress(text)
        async with aclosing(service.await_result(job)) as states:
            shown = ""
            async for now in states:
                done = now
                text = _words(now)
                if text and text != shown:
                    shown = text
                    yield Progress(text)
    finally:
        if not done.state.finished and on_disconnect == "cancel":
            await asyncio.shield(cancel_job(service, job))
    require_result(done)
    if done.share_id:
        yield Progress(f"**Generation Completed**\n\nRemix id: {done.share_id}\n")
    yield Result(await content(done))


def _words(job: Job) -> str:
    """Return the state for people, in steps of 10 %; empty if the job has finished."""
    match job.state:
        case JobState.QUEUED:
            return "Waiting for a worker...\n"
        case JobState.RUNNING:
            # A worker's message about a shot also counts its steps, which would make too many chunks.
            words = job.message.partition(":")[0] if job.message.startswith("shot ") else job.message
            detail = f" ({words})" if words else ""
            return f"**Generation Progress**: {int(job.progress * 10) * 10}%{detail}\n"
        case _:
            return ""
