"""Usage in Valkey; ``usage.lua`` counts it, and describes the keys."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import cast

import redis.asyncio

from framegate.core.usage import DailyUsage
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX

_PAGE = 500
_NUMBER = re.compile(r"[0-9]{1,19}")
_EPOCH = date(1970, 1, 1)
_SUMS = ("jobs", "succeeded", "failed", "cancelled", "input_bytes", "result_bytes", "microseconds")


class ValkeyUsageStore:
    """Implement `UsageStore` on Valkey."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix

    async def today(self) -> date:
        """Return the current day in UTC, by Valkey's clock."""
        with outages_as_unavailable():
            seconds, _ = await self._client.time()
        return datetime.fromtimestamp(seconds, UTC).date()

    async def read(self, days: Sequence[date], *, owner: str | None = None) -> Sequence[DailyUsage]:
        """Return what was used on these days, in their order, and then by the owners' names."""
        found: list[DailyUsage] = []
        users = await self._users(days, owner)
        for start in range(0, len(users), _PAGE):
            part = users[start : start + _PAGE]
            pipeline = self._client.pipeline(transaction=False)
            for day, user in part:
                pipeline.hgetall(f"{self._day_key(day)}:{user}")
            with outages_as_unavailable():
                sums = cast("list[dict[str, str]]", await pipeline.execute())
            found += [_usage(day, user, used) for (day, user), used in zip(part, sums, strict=True) if used]
        return found

    async def _users(self, days: Sequence[date], owner: str | None) -> Sequence[tuple[date, str]]:
        if owner is not None:
            return [(day, owner) for day in days]
        pipeline = self._client.pipeline(transaction=False)
        for day in days:
            pipeline.smembers(self._day_key(day))
        with outages_as_unavailable():
            users = cast("list[set[str]]", await pipeline.execute() if days else [])
        return [(day, user) for day, known in zip(days, users, strict=True) for user in sorted(known)]

    def _day_key(self, day: date) -> str:
        return f"{self._prefix}used:{(day - _EPOCH).days}"


def _number_in(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0  # one that is damaged is counted anew


def _usage(day: date, owner: str, used: Mapping[str, str]) -> DailyUsage:
    sums = {name: _number_in(used.get(name, "")) for name in _SUMS}
    microseconds = sums.pop("microseconds")
    return DailyUsage(day=day, owner=owner, gpu_seconds=microseconds / 1e6, **sums)
