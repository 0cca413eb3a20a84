"""What operators hold back and ask for, in Valkey; ``operations.lua`` describes the keys."""

from collections.abc import Mapping
from typing import cast

import redis.asyncio
from redis.commands.core import AsyncScript

from framegate.core.ports import HeldBack, ModelRequest
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import (
    DRAINED,
    MODEL_REQUESTS,
    MODELS_CALL,
    PAUSED,
    PREFIX,
    decode_model_requests,
)


class ValkeyOperationStore:
    """Implement `OperationStore` on Valkey."""

    def __init__(self, client: redis.asyncio.Redis, *, prefix: str = PREFIX) -> None:
        self._client = client
        self._prefix = prefix
        self._pause = client.register_script(scripts.PAUSE_MODEL)
        self._drain = client.register_script(scripts.DRAIN_WORKER)
        self._request = client.register_script(scripts.REQUEST_MODEL)

    async def held_back(self) -> HeldBack:
        """Return what is held back now."""
        pipeline = self._client.pipeline(transaction=False)
        for name in (PAUSED, DRAINED):
            pipeline.hgetall(self._prefix + name)
        with outages_as_unavailable():
            paused, drained = cast("list[dict[str, str]]", await pipeline.execute())
        return HeldBack(_times(paused), _times(drained))

    async def pause_model(self, model: str) -> None:
        """Let no worker start jobs of the model, and take away the tickets of those that wait."""
        await self._call(self._pause, model, "1")

    async def resume_model(self, model: str) -> None:
        """Let workers start jobs of the model again, and push tickets for those that wait."""
        await self._call(self._pause, model, "0")

    async def drain_worker(self, name: str) -> None:
        """Let the workers of this name take no more jobs."""
        await self._call(self._drain, name, "1")

    async def resume_worker(self, name: str) -> None:
        """Remove the entry of this name."""
        await self._call(self._drain, name, "0")

    async def model_requests(self) -> Mapping[str, ModelRequest]:
        """Return the latest request for each model, by its id."""
        with outages_as_unavailable():
            found = cast(
                "dict[str, str]",
                await self._client.hgetall(self._prefix + MODEL_REQUESTS),
            )
        return {request.model: request for request in decode_model_requests(found)}

    async def request_model(self, model: str, *, load: bool) -> None:
        """Let the workers that serve the model load it, or unload it, and notify all of them."""
        await self._call(self._request, model, "1" if load else "0", MODELS_CALL)

    async def _call(self, script: AsyncScript, *arguments: str) -> None:
        with outages_as_unavailable():
            await script(keys=[self._prefix], args=list(arguments))


def _times(texts: Mapping[str, str]) -> Mapping[str, float]:
    return {name: float(text) for name, text in texts.items()}
