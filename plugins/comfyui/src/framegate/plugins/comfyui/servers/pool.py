"""Which of the servers a graph goes to."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import aiohttp
import structlog

from framegate.core.errors import GenerationFailed
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.servers.client import (
    AccessRefused,
    ComfyClient,
    Load,
    ServerDown,
    UnexpectedAnswer,
)

_LOOK_SECONDS = 1.0
log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_clients(config: ComfyConfig) -> AsyncGenerator[list[ComfyClient]]:
    timeout = aiohttp.ClientTimeout(sock_connect=config.connect_timeout)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield [ComfyClient(session, server) for server in config.servers]


class ServerPool:
    """The least loaded of the servers that answer."""

    def __init__(self, clients: Sequence[ComfyClient], config: ComfyConfig) -> None:
        self._clients = clients
        self._config = config
        self._told: dict[str, str] = {}

    async def choose(
        self, waiting: Callable[[], None], without: Collection[ComfyClient] = ()
    ) -> ComfyClient | None:
        """``waiting`` is called again and again while no server answers; None if all that are left are
        ``without``.

        Raises:
            GenerationFailed: none answers and the config says not to wait, or all refuse us.
        """
        candidates = [client for client in self._clients if client not in without]
        if not candidates:
            return None
        while True:
            answers = await asyncio.gather(*(self._load(client) for client in candidates))
            loads = [
                (answer.size, random.random(), client)  # noqa: S311 # any of the equally loaded
                for client, answer in zip(candidates, answers, strict=True)
                if isinstance(answer, Load)
            ]
            if loads:
                return min(loads, key=lambda load: load[:2])[2]
            if all(answer == "refused" for answer in answers):
                raise GenerationFailed("ComfyUI refuses access; its token in the server's config is wrong.")
            if self._config.when_down == "fail":
                raise GenerationFailed("No ComfyUI server answers; try again later.")
            waiting()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _load(self, client: ComfyClient) -> Load | str:
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                return await client.load()
        except AccessRefused as error:
            trouble, reason = "refused", str(error)
        except (ServerDown, UnexpectedAnswer, TimeoutError) as error:
            trouble, reason = "down", str(error) or "no answer in time"
        if self._told.get(client.server.url) != reason:
            self._told[client.server.url] = reason
            log.warning("comfyui_unusable", server=client.server.name, trouble=trouble, reason=reason)
        return trouble
