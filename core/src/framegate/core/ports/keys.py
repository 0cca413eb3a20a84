"""What all API hosts share about keys and addresses: stored keys, rates, secrets."""

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Protocol

from msgspec import Struct

from framegate.core.keys import StoredKey, StoredKeys


class Rate(Struct, frozen=True):
    """How many requests may come.

    Attributes:
        per_minute: Within any minute; at least 1.
        burst: Of these within one second; 0 means any number.
    """

    per_minute: int
    burst: int = 0


class RateLease(Struct, frozen=True):
    """Requests that a process may let through.

    ``granted`` is their number. If it is 0, ``retry_after`` says in how many seconds there is one again.
    """

    granted: int
    retry_after: float = 0.0


class RateStore(Protocol):
    """The rates that all API processes keep together."""

    async def lease(self, name: str, rate: Rate, wanted: int) -> RateLease:
        """Lease at most ``wanted`` of the requests that ``name`` may still send.

        They count from now on, whether they come or not. What is left is shared out ever more sparingly, so
        that one process does not keep what another could use.

        Raises:
            Unavailable: The store can't be reached.
        """
        ...


class SecretStore(Protocol):
    """Secrets that all API hosts share. The method raises `Unavailable` when the store can't be reached."""

    async def get_or_create(self, name: str) -> bytes:
        """Return the secret of that name, 32 random bytes; it is made when it is first asked for."""
        ...


class KeyStore(Protocol):
    """The API keys that were created at run time.

    Every method but `changes` raises `Unavailable` when the store can't be reached.
    """

    async def version(self) -> int:
        """Return the version of the stored keys; see `StoredKeys`."""
        ...

    async def read(self) -> StoredKeys:
        """Return all stored keys."""
        ...

    async def add(self, key: StoredKey) -> bool:
        """Store the key; return False, with nothing stored, if its name is taken."""
        ...

    async def update(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey | None:
        """Replace the key by what ``change`` returns for it, in one step, and return that.

        ``change`` may be called more than once. None means that there is no such key.
        """
        ...

    async def delete(self, name: str) -> bool:
        """Remove the key; return False if there is none."""
        ...

    def changes(self) -> AsyncGenerator[None, None]:
        """Yield a tick whenever the keys may have changed, at once at first, and every few seconds anyway."""
        ...

    async def note_uses(self, uses: Mapping[str, float]) -> None:
        """Remember when keys were last used: seconds since the epoch by their names."""
        ...

    async def last_uses(self) -> Mapping[str, float]:
        """Return when keys were last used, those of the config included."""
        ...
