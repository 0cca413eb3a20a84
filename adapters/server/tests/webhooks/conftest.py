import pytest
import redis

from framegate.server.webhooks import delivery_worker
from framegate.storage.embedded import EmbeddedValkey
from tests.support.delivery_stand import DeliveryStand
from tests.support.receiving import SECRET, start_receiver
from tests.support.valkey import client, valkey

__all__ = ["client", "start_receiver", "valkey"]


@pytest.fixture
def stand(valkey: EmbeddedValkey, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> DeliveryStand:
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.setattr(delivery_worker, "POLL_SECONDS", 0.05)
    return DeliveryStand(valkey, client)
