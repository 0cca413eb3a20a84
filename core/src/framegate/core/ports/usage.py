"""What owners have used."""

from collections.abc import Sequence
from datetime import date
from typing import Protocol

from framegate.core.usage import DailyUsage


class UsageStore(Protocol):
    """What the owners of jobs have used on each day, in UTC by the store's clock.

    It is counted in the steps that submit and end jobs, and kept for `framegate.core.usage.KEPT_DAYS`,
    whatever becomes of the jobs. Every method raises `Unavailable` when the store can't be reached.
    """

    async def today(self) -> date:
        """Return the current day."""
        ...

    async def read(self, days: Sequence[date], *, owner: str | None = None) -> Sequence[DailyUsage]:
        """Return what was used on these days, in their order, by ``owner`` or by everybody (None).

        Owners who have used nothing on a day are missing.
        """
        ...
