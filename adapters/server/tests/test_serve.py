"""A server that can't start."""

import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from framegate.cli.app_context import create_context
from framegate.cli.config_file import load_settings
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.errors import ConfigError
from framegate.server import serve as module
from framegate.server.reloading import ReloadingApp
from tests.support.ports import free_port


class NotedWorkers(WorkerSupervisor):
    """Workers that are only said to run."""

    did: list[str]

    def start(self) -> None:
        self.did.append("start")

    def end_now(self) -> None:
        self.did.append("end now")

    async def stop(self) -> None:
        self.did.append("stop")


class UnusableApp(ReloadingApp):
    """An app whose lifespan fails, as a plugin's might."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncGenerator[None]:
        raise ConfigError("the plugin can't be opened")
        yield


@pytest.fixture
def restored_process() -> Iterator[None]:
    """Restore what a server sets in its process."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)
    for number, handler in signals.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("restored_process")
@pytest.mark.parametrize(
    ("app", "more", "did"),
    [
        # Workers have been started beside the app: they are not to finish a job first.
        (UnusableApp, {}, ["start", "end now", "stop"]),
        (ReloadingApp, {"webhooks.secret": {"env": "NOT_SET_HERE"}}, ["stop"]),
    ],
    ids=["the app", "a secret"],
)
def test_workers_do_not_outlive_a_start_that_fails(
    app: type[ReloadingApp],
    more: dict[str, Any],
    did: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noted: list[str] = []
    monkeypatch.setattr(NotedWorkers, "did", noted, raising=False)
    monkeypatch.setattr(module, "WorkerSupervisor", NotedWorkers)
    monkeypatch.setattr(module, "ReloadingApp", app)
    overrides = {
        "server.data_dir": str(tmp_path),
        "server.port": 0,
        "queue.url": f"redis://127.0.0.1:{free_port()}",
        **more,
    }
    context = create_context(load_settings(environ={}, overrides=overrides))
    with pytest.raises(ConfigError, match=r"the plugin can't be opened|NOT_SET_HERE"):
        module.serve(
            context, devices=("cpu",), worker_arguments=(), api_arguments=(), read_context=lambda: context
        )
    assert noted == did
