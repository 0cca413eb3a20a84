"""Limit the rate of requests over all API processes, mostly without asking anybody.

Valkey knows how many requests each key or address may still send within the minute. A process leases a slice
of them, a twentieth of a minute's at most, and serves from it; the next slice is leased in the background
before this one is used up. Only a request that finds nothing left waits for Valkey's answer. One that must be
refused is, without asking again, until the time for which Valkey has announced another.

A slice counts from its lease on, and may be used for a minute. So in any minute, with any number of
processes, there are never more requests than the limit and what was leased but not used before: for each
process less than a tenth of the limit, or one where the limit is below 40. What one process holds, others
can't use; therefore slices become smaller the less there is.

While Valkey can't be reached, each process grants itself slices at the pace of the limit.

The libraries of this kind, such as ``limits``, make a round trip for each request.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from msgspec import Struct

from framegate.core.errors import Unavailable
from framegate.core.ports import Rate, RateLease, RateStore

log = structlog.get_logger(__name__)

WINDOW = 60.0
_SLICES = 20
"""The slices of a minute's requests."""
MAX_NAMES = 20_000
"""How many keys and addresses are known at a time; those that were not seen for longest are forgotten."""


class _Stock(Struct, eq=False):
    """What a process has leased for one name.

    ``left`` requests may come until ``expires_at``; if there are none, none may before ``refused_until``.
    Times are the limiter's clock.
    """

    left: int = 0
    expires_at: float = 0.0
    refused_until: float = 0.0
    leasing: asyncio.Task[None] | None = None


class RateLimiter:
    """The rates of one process. ``clock`` returns seconds; it may start anywhere."""

    def __init__(self, store: RateStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._stocks: OrderedDict[str, _Stock] = OrderedDict()
        self._log_again_at = 0.0

    def __len__(self) -> int:
        """Return how many names are known."""
        return len(self._stocks)

    def refused_for(self, name: str) -> float:
        """Return in how many seconds ``name`` may send another request, as far as is known without asking."""
        stock = self._stocks.get(name)
        if stock is None:
            return 0.0
        now = self._clock()
        return 0.0 if self._has_left(stock, now) else max(0.0, stock.refused_until - now)

    async def take(self, name: str, rate: Rate) -> float:
        """Count a request of ``name``; return 0, or in how many seconds the next one will be let through."""
        stock = self._stock_of(name)
        slice_size = max(1, rate.per_minute // _SLICES)
        while True:
            now = self._clock()
            if self._has_left(stock, now):
                stock.left -= 1
                if stock.left < slice_size // 2 and now >= stock.refused_until:
                    self._lease(stock, name, rate, slice_size)
                return 0.0
            if now < stock.refused_until:
                return stock.refused_until - now
            # The lease is for all who wait: it goes on if this request's client disconnects.
            await asyncio.wait([self._lease(stock, name, rate, slice_size)])

    @staticmethod
    def _has_left(stock: _Stock, now: float) -> bool:
        return stock.left > 0 and now < stock.expires_at

    def _stock_of(self, name: str) -> _Stock:
        stock = self._stocks.get(name)
        if stock is None:
            stock = self._stocks[name] = _Stock()
            if len(self._stocks) > MAX_NAMES:
                self._stocks.popitem(last=False)
        else:
            self._stocks.move_to_end(name)
        return stock

    def _lease(self, stock: _Stock, name: str, rate: Rate, wanted: int) -> asyncio.Task[None]:
        if stock.leasing is None:
            stock.leasing = asyncio.create_task(self._restock(stock, name, rate, wanted))
        return stock.leasing

    async def _restock(self, stock: _Stock, name: str, rate: Rate, wanted: int) -> None:
        asked_at = self._clock()
        try:
            lease = await self._store.lease(name, rate, wanted)
        except Unavailable as error:
            self._log_outage(error)
            lease = RateLease(wanted)
            # The next slice is due when this one is used up at the pace of the limit.
            stock.refused_until = self._clock() + WINDOW * wanted / rate.per_minute
        finally:
            stock.leasing = None
        now = self._clock()
        if not self._has_left(stock, now):
            stock.left = 0
        if lease.granted:
            stock.left += lease.granted
            stock.expires_at = asked_at + WINDOW
        else:
            stock.refused_until = now + lease.retry_after

    def _log_outage(self, error: Unavailable) -> None:
        now = self._clock()
        if now >= self._log_again_at:
            self._log_again_at = now + WINDOW
            log.warning("rates_kept_locally", reason=error.message)


def whole_seconds(seconds: float) -> int:
    """Return the time as a Retry-After header says it, after which a request will be let through."""
    return max(1, math.ceil(seconds))
