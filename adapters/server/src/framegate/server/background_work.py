"""What a server does beside its requests by one config: retention, and the delivery of webhooks."""

import asyncio

from framegate.cli.app_context import AppContext
from framegate.core.concurrency import cancel_and_wait
from framegate.server.background import keep_running
from framegate.server.webhooks.delivery_worker import WebhookDeliveryWorker, open_delivery_worker
from framegate.storage.retention import Retention


class BackgroundWork:
    """The work beside the requests, for one config; one process of a server does it."""

    def __init__(self, context: AppContext, retention: Retention) -> None:
        self._context = context
        self._retention = retention
        self._running: list[asyncio.Task[None]] = []
        self._replaced = asyncio.Event()

    async def open(self) -> None:
        """Start it.

        Raises:
            ConfigError: A secret of the webhooks can't be read; nothing was started.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running.append(asyncio.create_task(self._run(opened)))
        await opened

    def replace(self) -> None:
        """Let it close once its deliveries in progress have ended: another one goes on."""
        self._replaced.set()

    @property
    def closed(self) -> bool:
        """Whether it has been open, and is no longer."""
        return all(task.done() for task in self._running)

    async def close(self) -> None:
        """Close it at once."""
        await cancel_and_wait(self._running)

    async def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            async with open_delivery_worker(self._context) as deliveries:
                opened.set_result(None)
                await self._work(deliveries)
        except Exception as error:
            if opened.done():
                raise
            opened.set_exception(error)

    async def _work(self, deliveries: WebhookDeliveryWorker | None) -> None:
        retaining = asyncio.create_task(keep_running(self._retention.run))
        tasks = [retaining]
        if deliveries is not None:
            tasks.append(asyncio.create_task(keep_running(deliveries.run)))
        try:
            await self._replaced.wait()
            await cancel_and_wait([retaining])
            if deliveries is not None:
                deliveries.finish()
                await asyncio.wait(tasks)
        finally:
            await cancel_and_wait(tasks)
