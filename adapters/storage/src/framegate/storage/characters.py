"""Characters in Valkey. They stay until they are deleted; temporary ones are removed by retention too."""

from collections.abc import Sequence
from typing import cast

import msgspec
import redis.asyncio
import structlog

from framegate.core.characters import Character
from framegate.core.errors import UnreadableRecord
from framegate.core.ports import NO_CHARACTER_LIMITS, CharacterLimits
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.expiry import BATCH, LEASE_SECONDS
from framegate.storage.jobs.records import PREFIX
from framegate.storage.quotas import character_quota_reached, stored_quota_reached
from framegate.storage.schema import (
    Layout,
    NewerRecord,
    Stamp,
    damage_as_unreadable,
    decode_readable,
    own_stamp,
    unchanged,
)

log = structlog.get_logger(__name__)

_AT_ONCE = 1000
_layout = Layout(Character, unchanged)
_stamp = msgspec.json.Decoder(Stamp)


class ValkeyCharacterStore:
    """Implement `CharacterStore` on Valkey.

    Every method raises `Unavailable` when Valkey can't be reached. `get` raises `NewerRecord` if a later
    version wrote the character. A damaged one is none to `get`; lists leave out characters of both kinds and
    say so in the log.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._add = client.register_script(scripts.ADD_CHARACTER)
        self._check = client.register_script(scripts.CHECK_CHARACTER)
        self._delete = client.register_script(scripts.DELETE_CHARACTER)
        self._drop_damaged = client.register_script(scripts.DROP_DAMAGED_CHARACTER)
        self._index = client.register_script(scripts.INDEX_CHARACTERS)
        self._lease_expired = client.register_script(scripts.LEASE_EXPIRED_CHARACTERS)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def check_quota(self, owner: str, limits: CharacterLimits) -> None:
        """Raise what `add` would raise for one more character of ``owner``."""
        if limits == NO_CHARACTER_LIMITS:
            return
        with outages_as_unavailable():
            arguments: list[str | int] = [owner, limits.max_characters, limits.max_stored]
            outcome, found = await self._check(keys=[self._prefix], args=arguments)
        _refuse(outcome, int(found), limits)

    async def add(self, character: Character, limits: CharacterLimits = NO_CHARACTER_LIMITS) -> bool:
        """Store the character; return False if its username is taken."""
        arguments: list[str | bytes | float] = [
            character.owner,
            limits.max_characters,
            limits.max_stored,
            character.username,
            msgspec.json.encode(msgspec.to_builtins(own_stamp()) | msgspec.to_builtins(character)),
            "1" if character.temporary else "",
            character.stored_bytes,
        ]
        with outages_as_unavailable():
            outcome, found = await self._add(keys=[self._prefix], args=arguments)
        _refuse(outcome, int(found), limits)
        return bool(outcome == "added")

    async def get(self, username: str) -> Character | None:
        """Return the character, or None."""
        with outages_as_unavailable():
            text = cast("str | None", await self._client.get(self._key(username)))
        try:
            return _decode(text) if text else None
        except NewerRecord:
            raise
        except UnreadableRecord as error:
            log.error("character_unreadable", character=username, reason=error.message)
            return None

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Return the owner's characters, or everybody's, newest first."""
        with outages_as_unavailable():
            names = cast(
                "list[str]", await self._client.zrange(f"{self._prefix}characters", 0, -1, desc=True)
            )
            found = decode_readable(_decode, await self._texts(names))
        return [character for character in found if owner is None or character.owner == owner]

    async def each(self) -> Sequence[Character]:
        """Return every character.

        Raises:
            UnreadableRecord: One of them is damaged, or a later version wrote it.
        """
        with outages_as_unavailable():
            names = cast("list[str]", await self._client.zrange(f"{self._prefix}characters", 0, -1))
            return [_decode(text) for text in await self._texts(names)]

    async def delete(self, character: Character) -> None:
        """Remove the character's record if it is there; one that has its username by now stays."""
        arguments = [character.username, character.owner, character.id]
        with outages_as_unavailable():
            await self._delete(keys=[self._prefix], args=arguments)

    async def count_uncounted(self) -> None:
        """Let characters that an earlier version has stored count towards their owners' quotas."""
        arguments: list[str | int] = []
        for character in await self.list(owner=None):
            if not character.temporary:
                arguments += [character.username, character.owner, character.stored_bytes]
        with outages_as_unavailable():
            for start in range(0, len(arguments), 3 * _AT_ONCE):
                await self._index(keys=[self._prefix], args=arguments[start : start + 3 * _AT_ONCE])

    async def lease_temporary(self, kept_for: float) -> Sequence[Character]:
        """Lease temporary characters that were added ``kept_for`` seconds ago, by Valkey's clock.

        They are due again after `LEASE_SECONDS` unless they have been deleted by then. Damaged ones are
        removed; their files, which nobody knows then, become orphans.
        """
        arguments: list[str | float] = [kept_for, BATCH, LEASE_SECONDS]
        found: list[Character] = []
        with outages_as_unavailable():
            leased = cast("list[str]", await self._lease_expired(keys=[self._prefix], args=arguments))
            for name, text, digest in zip(leased[::3], leased[1::3], leased[2::3], strict=True):
                try:
                    found.append(_decode(text))
                except NewerRecord as error:
                    log.warning("records_left_out", records=1, reason=error.message)
                except UnreadableRecord as error:
                    log.error("character_unreadable", character=name, reason=error.message)
                    await self._drop_damaged(keys=[self._prefix], args=[name, digest])
        return found

    async def _texts(self, names: Sequence[str]) -> Sequence[str]:
        if not names:
            return []
        texts = cast("list[str | None]", await self._client.mget([self._key(name) for name in names]))
        return [text for text in texts if text]

    def _key(self, username: str) -> str:
        return f"{self._prefix}character:{username}"


def _refuse(outcome: str, found: int, limits: CharacterLimits) -> None:
    """Raise the reason for which a script did not admit a new character, if it gave one."""
    match outcome:
        case "characters":
            raise character_quota_reached(found)
        case "stored":
            raise stored_quota_reached(found, limits.max_stored)
        case _:
            return


def _decode(text: str) -> Character:
    with damage_as_unreadable("The record of a character"):
        return _layout.decode(text, _stamp.decode(text))
