"""Keep decoder processes warm, and hand them tasks."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from framegate.core.concurrency import cancel_and_wait
from framegate.core.errors import InvalidMedia, Unavailable
from framegate.media.decoding.process import DecoderDied, DecoderGone, DecoderProcess
from framegate.media.decoding.tasks import (
    Crashed,
    DecoderLimits,
    DecoderTask,
    Exhausted,
    MediaInfo,
    Refused,
    Reply,
    SystemFailure,
)
from framegate.media.slots import FairSlots

log = structlog.get_logger(__name__)

WARM = 2
"""How many processes are started before they are needed."""
MAX_WAITING = 1024
MAX_WAITING_PER_OWNER = 128
"""How many files wait to be decoded, in all and of one owner."""
_TRIES = 3
"""How often a task is given to another process because the one before had ended."""
_NONE_STARTS = "The server can't start a decoder at the moment; try again later."
_REMEDY = "send a smaller or simpler one."


class DecoderError(Exception):
    """A decoder met an unforeseen error; the message is its traceback, for the log."""


class DecoderPool:
    """Perform tasks in up to ``processes`` processes, which are started when they are first needed.

    There are at least two: an owner's tasks have all but one of them at most.
    A task that takes too long, or whose caller is cancelled, is ended by killing its process; another one is
    started in its place at once. Open a pool with `open_decoders`, which kills its processes at the end.
    """

    def __init__(self, processes: int, limits: DecoderLimits) -> None:
        self._limits = limits
        self._slots = FairSlots(
            processes,
            per_owner=processes - 1,
            max_waiting=MAX_WAITING,
            max_waiting_per_owner=MAX_WAITING_PER_OWNER,
            calls="files to decode",
        )
        self._idle: list[asyncio.Future[DecoderProcess]] = []
        """The processes that nobody uses; some of them are still starting."""
        self._busy: set[DecoderProcess] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def warm(self) -> None:
        """Start the first processes, and return when they take tasks."""
        while len(self._idle) + len(self._busy) < WARM:
            self._add()
        if self._idle:
            await asyncio.wait(self._idle)

    async def run(self, task: DecoderTask, *, owner: str) -> MediaInfo:
        """Perform a task in a slot of ``owner``.

        Raises:
            InvalidMedia: The media can't be decoded, or not within the limits.
            KeyLimitReached, Busy: Too many tasks wait.
            Unavailable: No decoder can be started.
            OSError: The operating system refused something; the disk may be full.
            DecoderError: Something unforeseen happened.
        """
        async with self._slots.hold(owner):
            for _ in range(_TRIES):
                process = await self._take()
                try:
                    return self._result(await self._perform(process, task))
                except DecoderGone:
                    continue  # it had ended by itself, for which the file can't be blamed
                finally:
                    self._put_back(process)
        raise Unavailable(_NONE_STARTS)

    async def close(self) -> None:
        """Kill all processes, and wait until they have ended."""
        self._closed = True
        await cancel_and_wait(self._idle)
        for process in [*filter(None, map(_started, self._idle)), *self._busy]:
            self._end(process)
        await asyncio.gather(*self._ending)

    async def _perform(self, process: DecoderProcess, task: DecoderTask) -> Reply:
        try:
            async with asyncio.timeout(self._limits.timeout):
                return (await process.perform(task)).reply
        except TimeoutError:
            process.kill()
            log.warning("decoder_killed", task=type(task).__name__, reason="timeout")
            raise InvalidMedia(
                f"This file took longer than {self._limits.timeout:g} s to decode; {_REMEDY}"
            ) from None
        except DecoderGone:
            raise
        except DecoderDied as death:
            log.warning("decoder_died", task=type(task).__name__, exit_code=death.exit_code)
            raise self._reason(death) from None
        except BaseException:  # the caller was cancelled
            process.kill()
            raise

    def _reason(self, death: DecoderDied) -> InvalidMedia:
        if death.exit_code in (-signal.SIGXCPU, -signal.SIGALRM):
            return InvalidMedia(
                f"This file needs more than {self._limits.timeout:g} s of processor time to decode; {_REMEDY}"
            )
        return InvalidMedia("This file can't be decoded: it made the decoder crash. It may be damaged.")

    def _result(self, reply: Reply) -> MediaInfo:
        match reply:
            case MediaInfo():
                return reply
            case Refused(message, param):
                raise InvalidMedia(message, param=param)
            case Exhausted():
                raise InvalidMedia(
                    f"This file needs more than {self._limits.memory / 2**20:g} MiB of memory to decode; "
                    f"{_REMEDY}"
                )
            case SystemFailure(number):
                raise OSError(number, os.strerror(number))
            case Crashed(details):
                raise DecoderError(details)

    async def _take(self) -> DecoderProcess:
        """Return a process that takes tasks."""
        while True:
            # What has failed to start, or ended by itself, is dropped; what has started already comes first.
            self._idle = [entry for entry in self._idle if not entry.done() or self._is_usable(entry)]
            if not self._idle:
                self._add()
            entry = next((entry for entry in self._idle if entry.done()), self._idle[-1])
            self._idle.remove(entry)
            try:
                process = await asyncio.shield(entry)
            except asyncio.CancelledError:
                self._idle.append(entry)
                raise
            except (DecoderDied, OSError) as error:
                raise Unavailable(_NONE_STARTS) from error
            self._busy.add(process)
            return process

    def _is_usable(self, entry: "asyncio.Future[DecoderProcess]") -> bool:
        process = _started(entry)
        if process is not None and not process.usable:
            self._end(process)
        return process is not None and process.usable

    def _put_back(self, process: DecoderProcess) -> None:
        """Make a process available again, or start another in its place."""
        self._busy.discard(process)
        if process.usable:
            entry: asyncio.Future[DecoderProcess] = asyncio.get_running_loop().create_future()
            entry.set_result(process)
            self._idle.append(entry)
        else:
            self._end(process)
            if not self._closed:
                self._add()

    def _add(self) -> None:
        starting = asyncio.create_task(DecoderProcess.start(self._limits))
        starting.add_done_callback(_log_failure)
        self._idle.append(starting)

    def _end(self, process: DecoderProcess) -> None:
        process.kill()
        ending = asyncio.create_task(process.wait())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


def _log_failure(entry: "asyncio.Future[DecoderProcess]") -> None:
    if not entry.cancelled() and (error := entry.exception()):
        log.error("decoder_start_failed", reason=str(error) or type(error).__name__)


def _started(entry: "asyncio.Future[DecoderProcess]") -> DecoderProcess | None:
    """Return the process of an entry that is done; None if it could not be started."""
    return None if entry.cancelled() or entry.exception() is not None else entry.result()


@asynccontextmanager
async def open_decoders(processes: int, limits: DecoderLimits) -> AsyncGenerator[DecoderPool]:
    """Yield a pool whose processes end with the block."""
    pool = DecoderPool(processes, limits)
    try:
        yield pool
    finally:
        await pool.close()
