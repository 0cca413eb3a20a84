"""One decoder process, from the side of the server."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Self

import msgspec

from framegate.core.concurrency import to_its_end
from framegate.media.decoding.tasks import (
    HEADER_BYTES,
    MAX_REPLY,
    DecoderLimits,
    DecoderTask,
    Envelope,
    decode,
    encode,
)

_START_SECONDS = 60.0
_INHERITED = (
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
)
"""The variables that Python and its libraries need. All others stay out: keys are given by variables."""
_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
"""Threads that decoding has no use for would take memory from it."""


class DecoderDied(Exception):
    """The process has ended, or sent nonsense; ``exit_code`` is negative if it died of a signal."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"the decoder ended with exit code {exit_code}")
        self.exit_code = exit_code


class DecoderGone(DecoderDied):
    """The process had ended before it was given the task."""


class DecoderProcess:
    """A process that performs one task at a time; `start` one."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._tasks = process.stdin
        self._replies = process.stdout
        self._retired = False

    @classmethod
    async def start(cls, limits: DecoderLimits) -> Self:
        """Start a process, and return it once it takes tasks.

        Raises:
            DecoderDied, TimeoutError, OSError: It can't be started.
        """
        environ = {name: os.environ[name] for name in _INHERITED if name in os.environ} | _THREADS
        arguments = (str(os.getpid()), msgspec.msgpack.encode(limits).hex())
        process = cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the folder that it is started in holds no modules
                "-m",
                "framegate.media.decoding.worker",
                *arguments,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # libraries write there what clients' files make them
                env=environ,
                cwd="/",
                start_new_session=True,
            )
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await process._receive()
        except BaseException:
            process.kill()
            await to_its_end(process.wait())
            raise
        return process

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it takes another task."""
        return not self._retired and self._process.returncode is None

    async def perform(self, task: DecoderTask) -> Envelope:
        """Return the reply to a task. If this is cancelled, the process is of no use any more: kill it.

        Raises:
            DecoderGone: It had ended before.
            DecoderDied: It ended instead.
        """
        try:
            self._tasks.write(encode(task))
            await self._tasks.drain()
        except ConnectionError:
            raise DecoderGone((await self._death()).exit_code) from None
        if self._tasks.is_closing():  # known before `drain` raises for it
            raise DecoderGone((await self._death()).exit_code)
        envelope = await self._receive()
        self._retired = envelope.retiring
        return envelope

    def kill(self) -> None:
        """End the process at once; `wait` for its end."""
        self._retired = True
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> None:
        """Wait until the process has ended, and close its pipes."""
        await self._process.wait()
        self._tasks.close()
        await self._replies.read()  # asyncio closes its side with the end of this pipe

    async def _receive(self) -> Envelope:
        try:
            length = int.from_bytes(await self._replies.readexactly(HEADER_BYTES), "big")
            if length > MAX_REPLY:
                raise msgspec.DecodeError("the reply is too long")
            return decode(await self._replies.readexactly(length), Envelope)
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
            raise await self._death() from None

    async def _death(self) -> DecoderDied:
        # One that closed its pipes but runs on, or sends nonsense, no longer does what it was told.
        try:
            async with asyncio.timeout(1.0):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()
        return DecoderDied(self._process.returncode)
