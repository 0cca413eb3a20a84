"""Choose the server that a graph is sent to."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import aiohttp
import structlog

from framegate.core.errors import GenerationFailed
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.servers.client import (
    ACCESS_DENIED,
    AccessDenied,
    ComfyClient,
    QueueState,
    ServerUnavailable,
    UnexpectedResponse,
)

_POLL_SECONDS = 1.0
log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_clients(config: ComfyConfig) -> AsyncGenerator[list[ComfyClient]]:
    """Open a client for each configured server; they share one session.

    Raises:
        ConfigError: A secret's environment variable is not set.
    """
    timeout = aiohttp.ClientTimeout(sock_connect=config.connect_timeout)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield [ComfyClient(session, server) for server in config.servers]


class ServerPool:
    """The servers, of which the least loaded one that responds is chosen."""

    def __init__(self, clients: Sequence[ComfyClient], config: ComfyConfig) -> None:
        self._clients = clients
        self._config = config
        self._logged_reasons: dict[str, str] = {}

    async def choose(
        self, *, exclude: Collection[ComfyClient] = (), on_wait: Callable[[], None]
    ) -> ComfyClient | None:
        """Return the server with the shortest queue, or None if ``exclude`` leaves none.

        ``on_wait`` is called about once a second while no server responds.

        Raises:
            GenerationFailed: No server responds and the config says not to wait, or all deny access.
        """
        candidates = [client for client in self._clients if client not in exclude]
        if not candidates:
            return None
        while True:
            states = await asyncio.gather(*(self._queue_state(client) for client in candidates))
            loads = [
                (state.size, random.random(), client)  # noqa: S311 # nosec B311 # any of the equally loaded
                for client, state in zip(candidates, states, strict=True)
                if isinstance(state, QueueState)
            ]
            if loads:
                return min(loads, key=lambda load: load[:2])[2]
            if all(state == "denied" for state in states):
                raise GenerationFailed(ACCESS_DENIED)
            if self._config.when_down == "fail":
                raise GenerationFailed("No ComfyUI server responds; try again later.")
            on_wait()
            await asyncio.sleep(_POLL_SECONDS)

    async def _queue_state(self, client: ComfyClient) -> QueueState | str:
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                return await client.queue()
        except AccessDenied as error:
            state, reason = "denied", str(error)
        except (ServerUnavailable, UnexpectedResponse, TimeoutError) as error:
            state, reason = "unavailable", str(error) or "no response in time"
        if self._logged_reasons.get(client.server.url) != reason:
            self._logged_reasons[client.server.url] = reason
            log.warning("comfyui_unusable", server=client.server.name, state=state, reason=reason)
        return state
