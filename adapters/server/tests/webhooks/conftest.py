from collections.abc import Iterator

import pytest
import redis

from framegate.storage.connections import connect
from framegate.storage.embedded import EmbeddedValkey
from tests.support.receiving import Receiver, Respond, StartReceiver


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
def start_receiver() -> Iterator[StartReceiver]:
    """Start receivers; they are stopped at the end."""
    started: list[Receiver] = []

    def start(respond: Respond | None = None, *, host: str = "127.0.0.1") -> Receiver:
        receiver = Receiver(respond, host=host)
        started.append(receiver)
        return receiver

    yield start
    for receiver in started:
        receiver.stop()
