"""API keys in Valkey: a hash of records by name, their version, and a channel that announces changes."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import cast

import msgspec
import redis.asyncio
import structlog

from framegate.core.errors import UnreadableRecord
from framegate.core.keys import StoredKey, StoredKeys
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.schema import DAMAGE, Layout, Stamp, decode_readable, own_stamp, unchanged
from framegate.storage.subscriptions import Message, messages

log = structlog.get_logger(__name__)

REREAD_SECONDS = 5.0
"""How often there is a tick although no change was announced: an announcement may be lost."""
_RECONNECT_SECONDS = 0.5

_layout = Layout(StoredKey, unchanged)
_stamp = msgspec.json.Decoder(Stamp)


class ValkeyKeyStore:
    """Implement `KeyStore` on Valkey.

    Every method but `changes` raises `Unavailable` when Valkey can't be reached. `update` raises
    `UnreadableRecord` if a later version wrote the key, or it is damaged. `read` leaves such keys out: they
    are refused, and changes of the others still arrive.
    """

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._records = f"{prefix}keys"
        self._version = f"{prefix}keys:version"
        self._used = f"{prefix}keys:used"
        self._change = client.register_script(scripts.CHANGE_KEY)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def version(self) -> int:
        """Return the version of the stored keys, 0 if there never was one."""
        with outages_as_unavailable():
            return int(await self._client.get(self._version) or 0)

    async def read(self) -> StoredKeys:
        """Return all stored keys that this version can read."""
        with outages_as_unavailable():
            pipeline = self._client.pipeline(transaction=True)
            pipeline.get(self._version)
            pipeline.hvals(self._records)
            version, texts = await pipeline.execute()
        return StoredKeys(int(version or 0), tuple(decode_readable(_decode, cast("list[str]", texts))))

    async def add(self, key: StoredKey) -> bool:
        """Store the key; return False if its name is taken."""
        return await self._put(key.name, "", _encode(key))

    async def update(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey | None:
        """Replace the key by what ``change`` returns for it; None if there is no such key."""
        while True:
            before = await self._text(name)
            if before is None:
                return None
            after = change(_decode(before))
            if await self._put(name, before, _encode(after)):
                return after

    async def delete(self, name: str) -> bool:
        """Remove the key; return False if there is none."""
        while True:
            before = await self._text(name)
            if before is None:
                return False
            if await self._put(name, before, ""):
                return True

    async def changes(self) -> AsyncGenerator[None, None]:
        """Yield at once, after each announced change or new connection, and every `REREAD_SECONDS`.

        The last follow the answer to a PING, or the loss of a connection that has fallen silent.
        """
        while True:
            try:
                async with aclosing(self._messages()) as found:
                    async for _ in found:
                        yield
            except redis.RedisError as error:
                log.warning("key_changes_interrupted", error=type(error).__name__)
                yield
                await asyncio.sleep(_RECONNECT_SECONDS)

    def _messages(self) -> AsyncGenerator[Message | None]:
        return messages(self._client, f"{self._prefix}keys:changed", ping_after=REREAD_SECONDS)

    async def note_uses(self, uses: Mapping[str, float]) -> None:
        """Remember when keys were last used."""
        if uses:
            with outages_as_unavailable():
                await self._client.hset(self._used, items=[part for use in uses.items() for part in use])

    async def last_uses(self) -> Mapping[str, float]:
        """Return when keys were last used."""
        with outages_as_unavailable():
            found = cast("dict[str, str]", await self._client.hgetall(self._used))
        return {name: float(moment) for name, moment in found.items()}

    async def _text(self, name: str) -> str | None:
        with outages_as_unavailable():
            return cast("str | None", await self._client.hget(self._records, name))

    async def _put(self, name: str, before: str, after: str) -> bool:
        with outages_as_unavailable():
            return bool(await self._change(keys=[self._prefix], args=[name, before, after]))


def _encode(key: StoredKey) -> str:
    record = msgspec.to_builtins(own_stamp()) | msgspec.to_builtins(key)
    return msgspec.json.encode(record).decode()


def _decode(text: str) -> StoredKey:
    try:
        return _layout.decode(text, _stamp.decode(text))
    except DAMAGE as error:
        raise UnreadableRecord(
            f"A stored key is damaged, and refused: {error}. Revoke it, and create another."
        ) from None
