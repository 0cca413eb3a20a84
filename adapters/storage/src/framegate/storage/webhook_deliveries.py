"""Webhook deliveries in Valkey. They begin in the step that ends a job, and may outlive its record."""

from collections.abc import Iterable

import redis.asyncio
from msgspec import Struct

from framegate.core.jobs import JobState
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.schema import SCHEMA, Layout, read_stamp, unchanged


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one URL.

    ``created_at`` is when the job ended, in whole seconds since the epoch, ``receiver`` the URL's host and
    port, ``attempt`` the number of the attempt that was claimed, from 1.
    """

    id: str
    event: str
    outcome: JobState
    job_id: str
    created_at: int
    url: str
    receiver: str
    attempt: int


_layout = Layout(Delivery, unchanged)


class ValkeyDeliveryStore:
    """The deliveries that have not been made yet; any number of processes may share them.

    Every method raises `Unavailable` when Valkey can't be reached.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._claim = client.register_script(scripts.CLAIM_DELIVERY)
        self._settle = client.register_script(scripts.SETTLE_DELIVERY)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def claim(self, *, lease: float, exclude: Iterable[str] = ()) -> Delivery | None:
        """Claim the delivery that has been due for longest, or return None.

        It is the caller's for ``lease`` seconds, then due again. Deliveries to the receivers ``exclude``
        and those of later versions are left alone.
        """
        with outages_as_unavailable():
            found = await self._claim(keys=[self._prefix], args=[lease, SCHEMA, *exclude])
        fields = dict(zip(found[::2], found[1::2], strict=True))
        return _layout.convert(fields, read_stamp(fields)) if fields else None

    async def finish(self, delivery: Delivery) -> None:
        """Remove the delivery: it has arrived, or is given up."""
        with outages_as_unavailable():
            await self._settle(keys=[self._prefix], args=[delivery.id, delivery.attempt, ""])

    async def postpone(self, delivery: Delivery, seconds: float) -> None:
        """Try the delivery again after ``seconds``, unless another attempt has begun meanwhile."""
        with outages_as_unavailable():
            await self._settle(keys=[self._prefix], args=[delivery.id, delivery.attempt, seconds])
