"""A real Valkey for the tests of a conftest that imports these fixtures."""

from collections.abc import Iterator

import pytest
import redis

from framegate.storage.connections import connect
from framegate.storage.embedded import EmbeddedValkey


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A Valkey, empty at first."""
    embedded = EmbeddedValkey(tmp_path_factory.mktemp("valkey") / "data")
    embedded.start()
    yield embedded
    embedded.stop()


@pytest.fixture
def client(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """A connection to the Valkey of the tests, which is emptied."""
    connection = connect(valkey.url)
    connection.flushall()
    yield connection
    connection.close()
