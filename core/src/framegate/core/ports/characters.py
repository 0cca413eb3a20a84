"""The records of characters."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from framegate.core.characters import Character


class CharacterLimits(Struct, frozen=True):
    """How much an owner may keep, a new character included. 0 means no limit.

    Attributes:
        max_characters: Characters; temporary ones don't count.
        max_stored: Bytes, together with those of the owner's jobs.
    """

    max_characters: int = 0
    max_stored: int = 0


NO_CHARACTER_LIMITS = CharacterLimits()


class CharacterStore(Protocol):
    """The records of characters. Every method raises `Unavailable` when the store can't be reached."""

    async def check_quota(self, owner: str, limits: CharacterLimits) -> None:
        """Check whether `add` would currently accept one more character of ``owner``.

        Raises:
            QuotaReached: It would not.
        """
        ...

    async def add(self, character: Character, limits: CharacterLimits = NO_CHARACTER_LIMITS) -> bool:
        """Write the character; return False, with nothing written, if its username is taken.

        Raises:
            QuotaReached: Its owner keeps as much as ``limits`` allow; nothing was written.
        """
        ...

    async def get(self, username: str) -> Character | None:
        """Return the character, or None if there is none."""
        ...

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Return characters, newest first; everybody's if ``owner`` is None."""
        ...

    async def delete(self, character: Character) -> None:
        """Remove the record if it is there."""
        ...
