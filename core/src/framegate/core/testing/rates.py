"""The rate store in memory, which is the reference model of how slices are leased."""

import time
from collections import Counter
from collections.abc import Callable

from framegate.core.errors import Unavailable
from framegate.core.ports import Rate, RateLease

WINDOW = 61
"""The seconds for which a request counts: a whole minute beyond the one in which it was leased."""
_SHARE = 8


class InMemoryRateStore:
    """A `RateStore` in memory, by a ``clock`` in seconds.

    ``leases`` counts the calls. While ``reachable`` is False they raise `Unavailable`.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.leases = 0
        self.reachable = True
        self._clock = clock
        self._granted: dict[str, Counter[int]] = {}

    async def lease(self, name: str, rate: Rate, wanted: int) -> RateLease:
        """Lease some requests."""
        self.leases += 1
        if not self.reachable:
            raise Unavailable("The job queue can't be reached right now; try again shortly.")
        now = self._clock()
        second = int(now)
        granted = self._granted.setdefault(name, Counter())
        for at in [at for at in granted if at <= second - WINDOW]:
            del granted[at]
        free = rate.per_minute - granted.total()
        if free <= 0:
            return RateLease(0, min(granted) + WINDOW - now)
        if rate.burst:
            free = min(free, rate.burst - granted[second])
            if free <= 0:
                return RateLease(0, second + 1 - now)
        number = min(wanted, -(-free // _SHARE))
        granted[second] += number
        return RateLease(number)
