"""When the parent of several API processes gives up."""

import asyncio
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from framegate.cli import supervisor
from framegate.cli.app_context import create_context
from framegate.cli.config_file import load_settings
from framegate.cli.hangup import Hangups
from framegate.core.errors import ConfigError, FramegateError, Unavailable
from framegate.server.api_processes import supervisor as api_supervisor
from framegate.server.api_processes.parent import serve_with_processes
from tests.support.ports import free_port

CRASHES = "raise SystemExit(1)"
MISCONFIGURED = "raise SystemExit(78)"
LEARNS_LATER = "import os; os.write(0, b'\\n'); os.read(0, 1); raise SystemExit(78)"


@pytest.fixture
def hangups() -> Iterator[Hangups]:
    before = signal.getsignal(signal.SIGHUP)
    yield Hangups()
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("child", "error", "reason"),
    [
        (CRASHES, Unavailable, "can't start"),
        (MISCONFIGURED, ConfigError, "can't start"),
        (LEARNS_LATER, ConfigError, "can't work with this config"),
    ],
    ids=["crashing", "misconfigured", "misconfigured as it turns out later"],
)
def test_a_server_that_cannot_serve_ends(
    child: str,
    error: type[FramegateError],
    reason: str,
    hangups: Hangups,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def spawn(*_: str, stdin: socket.socket, pass_fds: tuple[int, ...]) -> asyncio.subprocess.Process:
        command = (sys.executable, "-S", "-c", child)
        return await asyncio.create_subprocess_exec(*command, stdin=stdin.fileno(), start_new_session=True)

    monkeypatch.setattr(api_supervisor, "spawn", spawn)
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE", 0.01)
    overrides = {
        "server.data_dir": str(tmp_path),
        "server.port": 0,
        "server.api_processes": 2,
        "queue.url": f"redis://127.0.0.1:{free_port()}",
    }
    context = create_context(load_settings(environ={}, overrides=overrides))

    async def serve() -> None:
        async with asyncio.timeout(30):
            await serve_with_processes(
                context,
                None,
                (),
                worker_arguments=(),
                api_arguments=(),
                hangups=hangups,
                read_context=lambda: context,
            )

    with pytest.raises(error, match=reason):
        asyncio.run(serve())
