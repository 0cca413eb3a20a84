"""What a server does for the whole host, whichever of its processes serves the API."""

import asyncio
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

import structlog

from framegate.cli.app_context import AppContext
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.errors import FramegateError, Unavailable
from framegate.core.jobs import Job, JobState
from framegate.core.ports import WorkerInfo
from framegate.storage.embedded import DataFolderLock, EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import SWEEP_SECONDS

log = structlog.get_logger(__name__)

_MOST_RUNNING = 10_000
_ANNOUNCE_SECONDS = 1.0
"""How long a server that stops waits to learn which jobs run."""
_VALKEY_LOOK_SECONDS = 0.01
_VALKEY_LONGEST_PAUSE, _VALKEY_STABLE_SECONDS = 15.0, 5.0


@contextmanager
def running_valkey(context: AppContext) -> Generator[EmbeddedValkey | None]:
    """Run the embedded Valkey in the block, if the queue is the embedded one. Call it from the main thread.

    It is only being started at first; see `valkey_is_up`.

    Raises:
        ConfigError, Unavailable: It can't be started, or another server has the data folder.
    """
    if not context.embedded:
        yield None
        return
    folder = context.settings.server.data_path
    lock = DataFolderLock(folder)
    try:
        valkey = EmbeddedValkey(folder)
        valkey.launch()
        try:
            yield valkey
        finally:
            valkey.stop()
    finally:
        lock.release()


async def valkey_is_up(valkey: EmbeddedValkey | None) -> None:
    """Wait until Valkey answers, which takes as long as it loads its data.

    Raises:
        Unavailable: It doesn't start; its log file says why.
    """
    while valkey is not None and not valkey.is_up():  # noqa: ASYNC110  # only its answer shows that it is
        await asyncio.sleep(_VALKEY_LOOK_SECONDS)


async def keep_valkey_running(valkey: EmbeddedValkey) -> None:
    """Restart Valkey if it ends; meanwhile clients get 503, and workers wait."""
    pause, started = 0.0, time.monotonic()
    while True:
        await asyncio.sleep(0.5)
        if not valkey.ended:
            continue
        if time.monotonic() - started > _VALKEY_STABLE_SECONDS:
            pause = 0.0
        log.error("valkey_ended", restart_in=pause)
        await asyncio.sleep(pause)
        pause = min(max(pause * 2, 1.0), _VALKEY_LONGEST_PAUSE)
        started = time.monotonic()
        try:
            valkey.launch()
            await valkey_is_up(valkey)
        except FramegateError as error:
            log.error("valkey_start_failed", reason=error.message)


async def sweep(store: ValkeyJobStore) -> None:
    """Requeue or fail the jobs whose workers' leases have expired.

    Every worker does so too, but the only one may be restarting, or dead.
    """
    while True:
        with suppress(Unavailable):
            if lost := await store.sweep(interval=SWEEP_SECONDS):
                log.warning("expired_leases_reclaimed", count=lost)
        await asyncio.sleep(SWEEP_SECONDS)


async def announce_stop(store: ValkeyJobStore, supervisor: WorkerSupervisor) -> None:
    """Log what is waited for before the server ends."""
    workers: Sequence[WorkerInfo] = ()
    running: Sequence[Job] = ()
    with suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(_ANNOUNCE_SECONDS):
            workers = (await store.worker_presence()).workers
            running = await store.list(owner=None, states=(JobState.RUNNING,), limit=_MOST_RUNNING)
    supervisor.announce_stop(workers, {job.worker for job in running})
