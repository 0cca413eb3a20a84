from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from framegate.storage.connections import connect
from framegate.storage.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A real Valkey, empty at first."""
    embedded = EmbeddedValkey(tmp_path_factory.mktemp("valkey") / "data")
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    connection = connect(valkey.url)
    connection.flushall()
    yield connection
    connection.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"
