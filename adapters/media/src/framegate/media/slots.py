"""Share a few slots fairly among owners."""

import asyncio
import math
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from framegate.core.errors import Busy, KeyLimitReached

_RETRY_AFTER = 10


class FairSlots:
    """Hand out ``count`` slots, of which an owner holds ``per_owner`` at most, to owners in turn.

    So another owner's next call finds a slot, however long the first one's take. Waiting owners are served
    round-robin, and each owner's calls in their order. ``max_waiting`` calls may wait in all, and
    ``max_waiting_per_owner`` for one owner; ``calls`` says what they are in the refusals of others.
    """

    def __init__(
        self,
        count: int,
        *,
        per_owner: int,
        max_waiting: float = math.inf,
        max_waiting_per_owner: float = math.inf,
        calls: str = "calls",
    ) -> None:
        self._count = count
        self._per_owner = per_owner
        self._max_waiting = max_waiting
        self._max_waiting_per_owner = max_waiting_per_owner
        self._calls = calls
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """The calls that wait, by owner; the owner to be served next comes first."""

    @property
    def held(self) -> int:
        """How many slots are held."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """How many calls wait for a slot."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def hold(self, owner: str) -> AsyncGenerator[None]:
        """Wait for a slot of ``owner``, and hold it during the block; the errors are those of `acquire`."""
        await self.acquire(owner)
        try:
            yield
        finally:
            self.release(owner)

    async def acquire(self, owner: str) -> None:
        """Wait for a slot of ``owner``, which has to be released.

        Raises:
            KeyLimitReached: Too many calls of the owner wait already.
            Busy: Too many calls wait in all.
        """
        if self._is_free(owner) and owner not in self._waiting:
            self._held[owner] += 1
            return
        self._refuse_too_many(owner)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(owner, turn)
            else:  # the slot was handed over at the same moment
                self.release(owner)
            raise

    def _refuse_too_many(self, owner: str) -> None:
        if len(self._waiting.get(owner, ())) >= self._max_waiting_per_owner:
            raise KeyLimitReached(
                f"{self._max_waiting_per_owner} of your {self._calls} are waiting; try again when some of "
                "those requests have been answered.",
                retry_after=_RETRY_AFTER,
            )
        if self.waiting >= self._max_waiting:
            raise Busy(
                f"{self._max_waiting} {self._calls} are waiting; try again later.",
                retry_after=_RETRY_AFTER,
            )

    def _is_free(self, owner: str) -> bool:
        return self._held.total() < self._count and self._held[owner] < self._per_owner

    def release(self, owner: str) -> None:
        """Give back a slot of ``owner``."""
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        while served := next(filter(self._is_free, self._waiting), None):
            self._serve(served)

    def _serve(self, owner: str) -> None:
        """Hand a free slot to the owner's first call, and put the owner last."""
        turn = self._waiting[owner][0]
        self._forget(owner, turn)
        if turn.cancelled():  # its task has yet to notice
            return
        self._held[owner] += 1
        turn.set_result(None)
        if owner in self._waiting:
            self._waiting.move_to_end(owner)

    def _forget(self, owner: str, turn: "asyncio.Future[None]") -> None:
        turns = self._waiting.get(owner)
        if turns is None or turn not in turns:
            return
        turns.remove(turn)
        if not turns:
            del self._waiting[owner]
