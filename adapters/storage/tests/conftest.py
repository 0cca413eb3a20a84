from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.webhook_deliveries import ValkeyDeliveryStore
from tests.support.valkey import client, valkey

__all__ = ["client", "valkey"]


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
