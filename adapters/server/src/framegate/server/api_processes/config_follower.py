"""Let an API process serve by the configs that its parent names."""

import asyncio
import signal
from collections.abc import Callable

import structlog

from framegate.cli.app_context import AppContext
from framegate.cli.config_file import Config
from framegate.server.api_processes.messages import Conclude, Prepare, Prepared
from framegate.server.auth.key_ring import KeyRing
from framegate.server.host_config import ReloadingApi
from framegate.server.reloading import adopt_settings, log_not_reloaded, read_reload, require_usable_keys

log = structlog.get_logger(__name__)


def end_in_order() -> None:
    """End this process as a signal would: it answers what it has begun, and takes no more."""
    signal.raise_signal(signal.SIGINT)


class ConfigFollower:
    """Prepare configs for ``api``, and let it serve by those that all processes can use.

    ``read_config`` reads a text of the config file, ``reply`` sends an answer to the parent, and ``end`` ends
    this process, once it can't serve by the config of the others.
    """

    def __init__(
        self,
        context: AppContext,
        api: ReloadingApi,
        keys: KeyRing,
        *,
        read_config: Callable[[str], Config],
        reply: Callable[[Prepared], None],
        end: Callable[[], None] = end_in_order,
    ) -> None:
        self._context = context
        self._api = api
        self._keys = keys
        self._read_config = read_config
        self._reply = reply
        self._end = end
        self._messages: asyncio.Queue[Prepare | Conclude] = asyncio.Queue()
        self._prepared: tuple[int, AppContext] | None = None

    def receive(self, message: Prepare | Conclude) -> None:
        """Take a message, which is followed in its turn."""
        self._messages.put_nowait(message)

    async def catch_up(self) -> None:
        """Follow the messages that are here."""
        while not self._messages.empty():
            await self._follow(self._messages.get_nowait())

    async def run(self) -> None:
        """Follow messages until cancelled."""
        while True:
            await self._follow(await self._messages.get())

    async def _follow(self, message: Prepare | Conclude) -> None:
        if isinstance(message, Prepare):
            try:
                await self._prepare(message)
            except Exception as error:
                log_not_reloaded(error)
                await self._discard()
            self._reply(Prepared(message.number, usable=self._prepared is not None))
        elif message.apply:
            self._apply(message.number)
        else:
            await self._discard()

    async def _prepare(self, message: Prepare) -> None:
        config = await asyncio.to_thread(self._read_config, message.config)
        old = self._context.settings
        reload, context = await asyncio.to_thread(read_reload, old, config.settings, config.origins)
        if reload.changed:
            with context.origins.locating():
                require_usable_keys(self._keys, context.settings)
                await self._api.prepare(context)
        self._prepared = message.number, context if reload.changed else self._context

    async def _discard(self) -> None:
        self._prepared = None
        await self._api.discard()

    def _apply(self, number: int) -> None:
        if self._prepared is None or self._prepared[0] != number:
            log.error("config_not_followed", reason="The other processes serve by it, so this one ends.")
            self._end()
            return
        context, self._prepared = self._prepared[1], None
        if context is not self._context:
            adopt_settings(self._keys, context.settings)
            self._api.apply()
            self._context = context
