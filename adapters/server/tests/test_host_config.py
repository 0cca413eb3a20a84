"""The config of a server: another one takes effect in all of it, or in nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from framegate.cli.app_context import AppContext, create_context, open_connections
from framegate.cli.config_file import read_config, require_valid
from framegate.cli.worker_supervisor import WorkerSupervisor
from framegate.core.errors import ConfigError
from framegate.server.auth.key_ring import KeyRing
from framegate.server.background_work import BackgroundWork
from framegate.server.host_config import HostConfig
from tests.support.ports import free_port


class Stand:
    """A server's config, with what requests are answered by in the test's hands."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "some.toml"
        self._queue = f"[queue]\nurl = 'redis://127.0.0.1:{free_port()}'\n"
        self.did: list[str] = []
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self.write("")

    def write(self, text: str) -> None:
        self._file.write_text(self._queue + text)

    def read(self) -> AppContext:
        config = require_valid(read_config(self._file, {}))
        return create_context(config.settings, config.origins)

    async def prepare(self, context: AppContext) -> None:
        self.did.append(f"prepare {context.settings.storage.retention:g}")
        await self.answers.wait()
        if self.error is not None:
            raise self.error

    def apply(self) -> None:
        self.did.append("apply")

    async def discard(self) -> None:
        self.did.append("discard")


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    stand = Stand(tmp_path)

    def note_start(_: BackgroundWork) -> None:
        stand.did.append("start work")

    def note_replacement(_: BackgroundWork) -> None:
        stand.did.append("replace work")

    monkeypatch.setattr(BackgroundWork, "start", note_start)
    monkeypatch.setattr(BackgroundWork, "replace", note_replacement)
    return stand


@pytest_asyncio.fixture
async def config(stand: Stand) -> AsyncIterator[HostConfig]:
    context = stand.read()
    async with open_connections(context) as connections:
        keys = KeyRing((), connections.keys)
        workers = WorkerSupervisor((), (), grace=1.0)
        yield HostConfig(context, connections, keys, workers, read_context=stand.read)


SHORTER = "[storage]\nretention = '1s'\n"
REFUSED = ["prepare 1", "discard"]
APPLIED = ["prepare 1", "apply", "replace work", "start work"]


async def test_the_work_goes_by_another_config_once_requests_do(stand: Stand, config: HostConfig) -> None:
    stand.write(SHORTER)
    await config.reload(stand)
    assert stand.did == APPLIED
    await config.reload(stand)  # nothing has changed since
    assert stand.did == APPLIED


async def test_a_config_that_is_refused_changes_nothing(stand: Stand, config: HostConfig) -> None:
    stand.write(SHORTER)
    stand.error = ConfigError("That isn't possible.")
    with pytest.raises(ConfigError, match="isn't possible"):
        await config.reload(stand)
    assert stand.did == REFUSED
    stand.error = None
    await config.reload(stand)
    assert stand.did == REFUSED + APPLIED


async def test_a_reload_that_is_given_up_changes_nothing(stand: Stand, config: HostConfig) -> None:
    stand.write(SHORTER)
    stand.answers.clear()
    reloading = asyncio.create_task(config.reload(stand))
    async with asyncio.timeout(30):
        while not stand.did:  # noqa: ASYNC110  # that it waits has no event
            await asyncio.sleep(0.005)
    assert stand.did == ["prepare 1"], "the work waits for the answers"
    reloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reloading
    assert stand.did == REFUSED


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            '[webhooks]\nsecret = { env = "NOT_SET_HERE" }\n',
            r"some\.toml:4: webhooks\.secret: .*NOT_SET_HERE",
        ),
        (
            '[[auth.keys]]\nname = "a"\nkey = { env = "NOT_SET_HERE" }\n',
            r"some\.toml:5: auth\.keys.*: .*NOT_SET_HERE",
        ),
    ],
)
async def test_secrets_are_read_before_anybody_is_asked(
    stand: Stand, config: HostConfig, wrong: str, told: str
) -> None:
    stand.write(f"{wrong}{SHORTER}")
    with pytest.raises(ConfigError, match=told):
        await config.reload(stand)
    assert stand.did == []
