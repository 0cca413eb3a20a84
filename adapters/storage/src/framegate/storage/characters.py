"""Characters in Valkey. They stay until they are deleted; temporary ones are removed by retention too."""

from collections.abc import Sequence
from typing import cast

import msgspec
import redis.asyncio

from framegate.core.characters import Character
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.schema import Layout, Stamp, decode_readable, own_stamp, unchanged

_ALL = f"{PREFIX}characters"
_TEMPORARY = f"{PREFIX}characters:temporary"
_layout = Layout(Character, unchanged)
_stamp = msgspec.json.Decoder(Stamp)


class ValkeyCharacterStore:
    """Implement `CharacterStore` on Valkey.

    Every method raises `Unavailable` when Valkey can't be reached. `get` raises `NewerRecord` if a later
    version wrote the character; lists leave such characters out and say so in the log.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._add = client.register_script(scripts.ADD_CHARACTER)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def add(self, character: Character) -> bool:
        """Store the character; return False if its username is taken."""
        arguments: list[str | bytes | float] = [
            character.username,
            msgspec.json.encode(msgspec.to_builtins(own_stamp()) | msgspec.to_builtins(character)),
            character.created_at,
            "1" if character.temporary else "",
        ]
        with outages_as_unavailable():
            return bool(await self._add(keys=[PREFIX], args=arguments))

    async def get(self, username: str) -> Character | None:
        """Return the character, or None."""
        with outages_as_unavailable():
            text = cast("str | None", await self._client.get(_key(username)))
        return _decode(text) if text else None

    async def list(self, *, owner: str | None) -> Sequence[Character]:
        """Return the owner's characters, or everybody's, newest first."""
        with outages_as_unavailable():
            names = cast("list[str]", await self._client.zrange(_ALL, 0, -1, desc=True))
            found = decode_readable(_decode, await self._texts(names))
        return [character for character in found if owner is None or character.owner == owner]

    async def each(self) -> Sequence[Character]:
        """Return every character.

        Raises:
            NewerRecord: A later version wrote one of them.
        """
        with outages_as_unavailable():
            names = cast("list[str]", await self._client.zrange(_ALL, 0, -1))
            return [_decode(text) for text in await self._texts(names)]

    async def delete(self, username: str) -> None:
        """Remove the character's record if it is there."""
        with outages_as_unavailable():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.delete(_key(username))
            for index in (_ALL, _TEMPORARY):
                pipeline.zrem(index, username)
            await pipeline.execute()

    async def temporary_before(self, created: float) -> Sequence[Character]:
        """Return the temporary characters made before ``created`` (seconds since the epoch)."""
        with outages_as_unavailable():
            names = await self._client.zrange(_TEMPORARY, "-inf", created, byscore=True, offset=0, num=200)
            return decode_readable(_decode, await self._texts(cast("list[str]", names)))

    async def _texts(self, names: Sequence[str]) -> Sequence[str]:
        if not names:
            return []
        texts = cast("list[str | None]", await self._client.mget([_key(name) for name in names]))
        return [text for text in texts if text]


def _decode(text: str) -> Character:
    return _layout.decode(text, _stamp.decode(text))


def _key(username: str) -> str:
    return f"{PREFIX}character:{username}"
