"""Look up the addresses of hosts, in threads that nothing else waits for.

The system's resolver is asked, as it alone knows everything that names a host in somebody's network:
``/etc/hosts``, search domains, and what nsswitch adds, such as ``nas.local`` by mDNS. It blocks, for half a
minute where a name server doesn't answer, and can't be interrupted.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Thread

from framegate.media.network.addresses import AddressInfo
from framegate.media.slots import FairSlots

MAX_LOOKUPS = 64
MAX_LOOKUPS_PER_OWNER = 16
MAX_ADDRESSES = 16
"""Of one host; the rest of a longer answer is not dialled."""


class HostLookups:
    """Make lookups in bounded numbers. A lookup that nobody waits for any longer counts until it has ended.

    Each has a thread of its own, which doesn't keep the process from ending, unlike those of an executor.
    """

    def __init__(self, *, total: int = MAX_LOOKUPS, per_owner: int = MAX_LOOKUPS_PER_OWNER) -> None:
        self._slots = FairSlots(total, per_owner=per_owner)

    async def find(
        self, host: str, port: int, *, owner: str = "", family: int = socket.AF_UNSPEC, flags: int = 0
    ) -> Sequence[AddressInfo]:
        """Return what `socket.getaddrinfo` finds for a TCP connection, at most `MAX_ADDRESSES`.

        Raises:
            OSError, UnicodeError: As `socket.getaddrinfo` does.
        """
        await self._slots.acquire(owner)
        loop = asyncio.get_running_loop()
        outcome: Future[Sequence[AddressInfo]] = Future()
        outcome.set_running_or_notify_cancel()  # from here on it ends with its thread only

        def release_slot(_: object) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._slots.release, owner)

        def look_up() -> None:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family, flags=flags)
            except Exception as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(infos[:MAX_ADDRESSES])

        outcome.add_done_callback(release_slot)
        try:
            Thread(target=look_up, name="dns", daemon=True).start()
        except RuntimeError as error:  # the process has as many threads as it may have
            outcome.set_exception(OSError(str(error)))
        return await asyncio.wrap_future(outcome)
