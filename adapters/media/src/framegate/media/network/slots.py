"""Limit what runs at once, in all and for one owner."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager


class _Share:
    """What one owner may run at once; ``users`` of it hold it or wait for it."""

    def __init__(self, size: int) -> None:
        self.slots = asyncio.Semaphore(size)
        self.users = 0


class Slots:
    """Give out ``total`` slots, and at most ``per_owner`` of them to one owner, so that others get some.

    The owner "" stands for everybody who uses a server without keys, and may hold them all.
    """

    def __init__(self, total: int, *, per_owner: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_owner = per_owner
        self._shares: dict[str, _Share] = {}

    async def acquire(self, owner: str) -> Callable[[], None]:
        """Wait for a slot, and return what releases it. Call that exactly once."""
        share = self._shares.setdefault(owner, _Share(self._per_owner)) if owner else None
        if share is not None:
            await self._acquire_share(owner, share)
        try:
            await self._total.acquire()
        except BaseException:
            self._release_share(owner, share)
            raise

        def release() -> None:
            self._total.release()
            self._release_share(owner, share)

        return release

    @asynccontextmanager
    async def hold(self, owner: str) -> AsyncGenerator[None]:
        """Hold a slot during the block."""
        release = await self.acquire(owner)
        try:
            yield
        finally:
            release()

    async def _acquire_share(self, owner: str, share: _Share) -> None:
        share.users += 1
        try:
            await share.slots.acquire()
        except BaseException:
            self._leave(owner, share)
            raise

    def _release_share(self, owner: str, share: _Share | None) -> None:
        if share is not None:
            share.slots.release()
            self._leave(owner, share)

    def _leave(self, owner: str, share: _Share) -> None:
        share.users -= 1
        if not share.users:
            del self._shares[owner]
