"""Decoder processes: what they may do, how they end, and who takes their place."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia, Unavailable
from framegate.media.decoding.pool import DecoderPool, open_decoders
from framegate.media.decoding.tasks import DecodeImage, DecoderLimits, MediaInfo

WORKER = "framegate.media.decoding.worker"
LONG = 60.0
"""Seconds that no test waits for, unless it fails."""


def decoders_of(process: psutil.Process) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in process.children(recursive=True):
        try:
            command = child.cmdline()  # one that is ending has none, but its pipes may be open yet
            if (WORKER in command or not command) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.NoSuchProcess:
            pass
    return found


def decoders() -> list[psutil.Process]:
    return decoders_of(psutil.Process())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110  # processes announce nothing
            await asyncio.sleep(0.02)


class Files:
    """Sources of tasks: an image, and one that never comes to an end."""

    def __init__(self, folder: Path) -> None:
        self.target = folder / "target.png"
        self.image = folder / "image.png"
        Image.new("RGB", (40, 30), "red").save(self.image)
        self.endless = folder / "pipe"
        os.mkfifo(self.endless)

    def decode(self, source: Path | None = None) -> DecodeImage:
        return DecodeImage(source or self.image, self.target)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def hanging(pool: DecoderPool, files: Files) -> AsyncGenerator[asyncio.Task[MediaInfo]]:
    """Run a task that never ends, and wait until a process works on it."""
    task = asyncio.create_task(pool.run(files.decode(files.endless), owner="a"))
    # This returns when the process has opened the other end, where it waits for what never comes.
    writer = await asyncio.to_thread(os.open, files.endless, os.O_WRONLY)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
        os.close(writer)


async def test_a_task_is_done_and_another_follows(files: Files) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        for _ in range(2):
            assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)
        assert len(decoders()) == 1, "a second process is started when it is needed"
    assert not decoders()


async def test_two_are_started_before_they_are_needed() -> None:
    async with open_decoders(4, DecoderLimits()) as pool:
        await pool.warm()
        assert len(decoders()) == 2


async def test_a_pool_that_is_closed_at_once_leaves_nothing(files: Files) -> None:
    for pause in (0.0, 0.05):  # while its processes are created, and while they start
        async with open_decoders(2, DecoderLimits()) as pool:
            warming = asyncio.create_task(pool.warm())
            running = asyncio.create_task(pool.run(files.decode(), owner="a"))
            await asyncio.sleep(pause)
            running.cancel()
            warming.cancel()
            await asyncio.wait([running, warming])
        await until(lambda: not decoders())


async def test_a_refusal_is_the_callers_own(files: Files) -> None:
    files.image.write_bytes(b"no image")
    async with open_decoders(2, DecoderLimits()) as pool:
        with pytest.raises(InvalidMedia, match="not an image that can be read"):
            await pool.run(files.decode(), owner="a")


async def test_what_takes_too_long_is_killed(files: Files) -> None:
    async with open_decoders(2, DecoderLimits(timeout=1.0)) as pool:
        await pool.warm()
        with pytest.raises(InvalidMedia, match="took longer than 1 s to decode"):
            await pool.run(files.decode(files.endless), owner="a")
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)
        await until(lambda: len(decoders()) == 2)


async def test_a_slow_file_does_not_delay_another_owner(files: Files) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        slow = [asyncio.create_task(pool.run(files.decode(files.endless), owner="a")) for _ in range(5)]
        await asyncio.sleep(0)
        async with asyncio.timeout(LONG):
            assert await pool.run(files.decode(), owner="b") == MediaInfo(40, 30)
        for task in slow:
            task.cancel()
        await asyncio.wait(slow)


async def test_a_caller_that_leaves_takes_its_process_along(files: Files) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        async with hanging(pool, files) as task:
            [process] = decoders()
            task.cancel()
            await until(lambda: process not in decoders())
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
async def test_a_crash_is_the_fault_of_its_file(files: Files, number: signal.Signals) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        async with hanging(pool, files) as task:
            [process] = decoders()
            process.send_signal(number)
            with pytest.raises(InvalidMedia, match="made the decoder crash"):
                await task
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)


async def test_one_that_ended_while_nobody_used_it_is_replaced(files: Files) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        await pool.run(files.decode(), owner="a")
        [process] = decoders()
        process.kill()
        await until(lambda: not decoders())
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit memory")
async def test_what_needs_too_much_memory(files: Files) -> None:
    async with open_decoders(2, DecoderLimits(memory=512 * 2**20)) as pool:
        with pytest.raises(InvalidMedia, match="needs more than 512 MiB of memory to decode"):
            await pool.run(files.decode(Path("/dev/zero")), owner="a")
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)


async def test_processes_are_replaced_after_some_tasks(files: Files) -> None:
    pids: set[int] = set()
    async with open_decoders(2, DecoderLimits(max_tasks=2)) as pool:
        for _ in range(4):
            await pool.run(files.decode(), owner="a")
            pids.update(process.pid for process in decoders())
    assert len(pids) >= 2


async def test_a_server_that_can_not_start_decoders_says_so_until_it_can(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        for executable in ("/bin/false", "/nowhere/python"):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "executable", executable)
                await pool.warm()
                with pytest.raises(Unavailable, match="can't start a decoder"):
                    await pool.run(files.decode(), owner="a")
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)


async def test_errors_of_the_system_are_no_fault_of_the_file(files: Files) -> None:
    async with open_decoders(2, DecoderLimits()) as pool:
        with pytest.raises(FileNotFoundError):
            await pool.run(files.decode(files.image.with_name("gone")), owner="a")


async def test_a_decoder_has_no_secrets_and_little_else(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALICE_KEY", "s3cret")
    monkeypatch.setenv("FRAMEGATE_AUTH__KEYS", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    async with open_decoders(2, DecoderLimits(memory=2**30)) as pool:
        await pool.run(files.decode(), owner="a")
        [process] = decoders()
        assert "s3cret" not in str(process.environ()) + str(process.cmdline())
        assert process.nice() >= 5
        assert process.cwd() == "/"
        assert process.num_fds() < 16
        if sys.platform == "linux":
            for kind, most in (
                (resource.RLIMIT_CORE, 0),
                (resource.RLIMIT_DATA, 2**30),
                (resource.RLIMIT_NOFILE, 64),
                (resource.RLIMIT_FSIZE, 512 * 2**20),
            ):
                _, hard = process.rlimit(kind)
                assert 0 <= hard <= most, kind
        for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C, and a service manager that stops the server
            process.send_signal(number)
        assert await pool.run(files.decode(), owner="a") == MediaInfo(40, 30)
        assert [process] == decoders()


PARENT = """
import asyncio, sys
from pathlib import Path
from framegate.media.decoding.pool import open_decoders
from framegate.media.decoding.tasks import DecodeImage, DecoderLimits

async def main():
    async with open_decoders(2, DecoderLimits()) as pool:
        await pool.warm()
        hanging = asyncio.create_task(pool.run(DecodeImage(Path(sys.argv[1]), Path("x")), owner="a"))
        await asyncio.sleep(0)
        print("ready", flush=True)
        await hanging

asyncio.run(main())
"""


def test_decoders_end_with_their_server_however_it_ends(files: Files) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(files.endless)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        processes = decoders_of(psutil.Process(parent.pid))
        assert len(processes) == 2
        parent.kill()
        _, alive = psutil.wait_procs(processes, timeout=LONG)
        assert not alive


def test_the_processor_time_of_a_task_is_limited() -> None:
    script = (
        "from framegate.media.decoding.confinement import confine, start_task\n"
        "confine(memory=2**30)\nstart_task(0.2)\n"
        "while True: pass"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], timeout=LONG, check=False)
    assert done.returncode == -signal.SIGXCPU
    assert time.monotonic() - started < LONG
