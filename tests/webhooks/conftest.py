from collections.abc import Iterator

import pytest

from tests.support.receiving import Receiver, Respond, StartReceiver


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
