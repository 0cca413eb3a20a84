"""Secrets in Valkey, which all API hosts share."""

import secrets
from typing import cast

import redis.asyncio

from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX

_BYTES = 32


class ValkeySecretStore:
    """Implement `SecretStore` on Valkey."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def get_or_create(self, name: str) -> bytes:
        """Return the secret of that name; of hosts that create it at the same time, one wins."""
        key = f"{self._prefix}secret:{name}"
        with outages_as_unavailable():
            await self._client.set(key, secrets.token_hex(_BYTES), nx=True)
            return bytes.fromhex(cast("str", await self._client.get(key)))
