"""The rates of keys and addresses, as all API processes keep them together in Valkey."""

import redis.asyncio

from framegate.core.ports import Rate, RateLease
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX


class ValkeyRateStore:
    """Implement `RateStore` on Valkey, in keys that expire after a minute without requests."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._lease = client.register_script(scripts.LEASE_RATE)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def lease(self, name: str, rate: Rate, wanted: int) -> RateLease:
        """Lease at most ``wanted`` requests, by Valkey's clock."""
        arguments: list[str | int] = [name, rate.per_minute, rate.burst, wanted]
        with outages_as_unavailable():
            granted, retry_after = await self._lease(keys=[self._prefix], args=arguments)
        return RateLease(int(granted), float(retry_after))
