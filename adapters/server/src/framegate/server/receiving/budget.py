"""Limit the bytes of bodies that requests hold, for each client and in all."""

import asyncio
from collections import deque

from msgspec import Struct

from framegate.core.errors import Busy
from framegate.server.errors.error_info import TooManyBytesInFlight

_PATIENCE = 5.0
"""The seconds for which a complete body waits for room in memory."""

_CROWD = 64 * 2**20
"""The bytes that have arrived of all bodies, apart from those loaded, above which it is crowded."""


class BodyShare(Struct, eq=False):
    """The bytes of one request's body: those ``held`` on disk or in memory, and those ``loaded`` as a whole.

    ``limit`` is for all requests of its ``client`` together.
    """

    client: str
    limit: float
    held: int = 0
    loaded: int = 0


class BodyBudget:
    """The bytes of the requests that are being received or handled.

    A client is a key, or an address where no keys are needed. What it has in flight, on disk or in memory, is
    limited by its own ``limit``. Of all large bodies, only ``in_memory`` bytes are in memory at once, at most
    half of them one client's; a single body, however large, always has room if it is the only one.
    """

    def __init__(self, in_memory: int) -> None:
        self._max_loaded = in_memory
        self._held = 0
        self._loaded = 0
        self._loaded_by: dict[str, int] = {}
        self._held_by: dict[str, int] = {}
        self._waiting: deque[tuple[BodyShare, asyncio.Future[None]]] = deque()

    def hold(self, share: BodyShare, size: int) -> None:
        """Count bytes that have arrived.

        Raises:
            TooManyBytesInFlight: The client has too many, and some of them belong to other requests.
        """
        held = self._held_by.get(share.client, 0)
        if held + size > share.limit and held > share.held:
            raise TooManyBytesInFlight(
                f"Your unfinished requests have {held + size:,} bytes; at most {share.limit:,} may be in "
                "flight at once. Send this one again when others are done."
            )
        self._held_by[share.client] = held + size
        self._held += size
        share.held += size

    @property
    def is_crowded(self) -> bool:
        """Whether so much is arriving that small bodies, too, should be on disk."""
        return self._held - self._loaded > _CROWD

    async def load(self, share: BodyShare) -> None:
        """Wait for room in memory for all that is held.

        Raises:
            Busy: There is none.
            TooManyBytesInFlight: The client's other requests have its share.
        """
        if not self._waiting and self._fits(share):
            self._take(share)
            return
        granted = asyncio.get_running_loop().create_future()
        entry = (share, granted)
        self._waiting.append(entry)
        self._grant()
        try:
            async with asyncio.timeout(_PATIENCE):
                await granted
        except BaseException as error:
            if granted.done() and not granted.cancelled():
                self._unload(share)
            else:
                self._waiting.remove(entry)
                self._grant()
            if not isinstance(error, TimeoutError):
                raise
            if self._fits_client(share):
                raise Busy("The server is busy with other large requests; try again shortly.") from None
            raise TooManyBytesInFlight(
                "Your other requests already fill your share of the memory for large bodies. Send this one "
                "again when others are done."
            ) from None

    def _fits_client(self, share: BodyShare) -> bool:
        loaded = self._loaded_by.get(share.client, 0)
        return not loaded or loaded + share.held <= self._max_loaded // 2

    def _fits(self, share: BodyShare) -> bool:
        return self._fits_client(share) and (
            not self._loaded or self._loaded + share.held <= self._max_loaded
        )

    def _take(self, share: BodyShare) -> None:
        share.loaded = share.held
        self._loaded += share.loaded
        self._loaded_by[share.client] = self._loaded_by.get(share.client, 0) + share.loaded

    def _unload(self, share: BodyShare) -> None:
        self._loaded -= share.loaded
        _subtract(self._loaded_by, share.client, share.loaded)
        share.loaded = 0
        self._grant()

    def _grant(self) -> None:
        """Let in those who wait, in their order; who exceeds only its own share holds up nobody."""
        for share, granted in tuple(self._waiting):
            if not self._fits_client(share):
                continue
            if not self._fits(share):
                break
            self._take(share)
            self._waiting.remove((share, granted))
            granted.set_result(None)

    def release(self, share: BodyShare) -> None:
        """Give everything back; the request is done."""
        _subtract(self._held_by, share.client, share.held)
        self._held -= share.held
        share.held = 0
        if share.loaded:
            self._unload(share)


def _subtract(amounts: dict[str, int], client: str, size: int) -> None:
    left = amounts.get(client, 0) - size
    if left > 0:
        amounts[client] = left
    else:
        amounts.pop(client, None)
