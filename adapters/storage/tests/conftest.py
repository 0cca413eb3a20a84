from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
import redis

from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.link import Call, Link
from framegate.storage.webhook_deliveries import ValkeyDeliveryStore
from tests.support.external_valkey import ExternalValkey
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExternalValkey]:
    server = ExternalValkey(tmp_path_factory.mktemp("external") / "valkey")
    yield server
    server.kill()


@pytest.fixture
async def store(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyJobStore]:
    jobs = ValkeyJobStore(connect_async(valkey.url))
    yield jobs
    await jobs.close()


@pytest.fixture
async def characters(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyCharacterStore]:
    found = ValkeyCharacterStore(connect_async(valkey.url))
    yield found
    await found.close()


@pytest.fixture
async def deliveries(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyDeliveryStore]:
    found = ValkeyDeliveryStore(connect_async(valkey.url))
    yield found
    await found.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def artifacts(data_dir: Path) -> FolderStore:
    return FolderStore(data_dir)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands each write to Valkey has had: each is a round trip."""
    found: list[int] = []
    send = Link.send

    def counted(self: Link, calls: Sequence[Call]) -> None:
        found.append(len(calls))
        send(self, calls)

    monkeypatch.setattr(Link, "send", counted)
    return found
