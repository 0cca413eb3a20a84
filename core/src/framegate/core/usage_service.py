"""Usage as operators and clients see it."""

from datetime import date, timedelta

from framegate.core.errors import InvalidRequest
from framegate.core.ports import UsageStore
from framegate.core.usage import KEPT_DAYS, Usage, UsageReport


class UsageService:
    """Report what keys have used. Days are those of the store's clock, in UTC."""

    def __init__(self, store: UsageStore) -> None:
        self._store = store

    async def report(
        self, *, days: int = 1, day: date | None = None, owner: str | None = None
    ) -> UsageReport:
        """Return the usage of ``day``, or else of the last ``days`` with today among them.

        It is that of the key ``owner`` ("" for those who needed none), or of every key (None).

        Raises:
            InvalidRequest: So many days are not kept.
        """
        if not 1 <= days <= KEPT_DAYS:
            raise InvalidRequest(
                f"days: {days} is not within 1 … {KEPT_DAYS}, the days for which usage is kept.", param="days"
            )
        if day is not None:
            wanted = [day]
        else:
            today = await self._store.today()
            wanted = [today - timedelta(days=age) for age in range(days)]
        items = await self._store.read(wanted, owner=owner)
        return UsageReport(items, Usage.sum(items))

    async def today(self, owner: str) -> Usage:
        """Return what the key ``owner`` has used today."""
        return (await self.report(owner=owner)).total
