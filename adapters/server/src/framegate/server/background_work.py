"""What a server does beside its requests by one config: retention, and the delivery of webhooks."""

import asyncio

from framegate.cli.app_context import AppContext, Connections, build_retention
from framegate.core.concurrency import cancel_and_wait
from framegate.server.background import keep_running
from framegate.server.webhooks.delivery_worker import create_delivery_worker


class BackgroundWork:
    """The work beside the requests, for one config; one process of a server does it.

    Raises:
        ConfigError: A secret of the webhooks can't be read, or the storage's settings can't be right.
    """

    def __init__(self, context: AppContext, connections: Connections) -> None:
        self._retention = build_retention(context, connections)
        self._deliveries = create_delivery_worker(context)
        self._running: list[asyncio.Task[None]] = []
        self._replaced = asyncio.Event()

    def start(self) -> None:
        """Start it; call it where an event loop runs."""
        self._running.append(asyncio.create_task(self._run()))

    def replace(self) -> None:
        """Let it close once its deliveries in progress have ended: another one goes on."""
        self._replaced.set()

    @property
    def closed(self) -> bool:
        """Whether nothing of it runs, any more or yet."""
        return all(task.done() for task in self._running)

    async def close(self) -> None:
        """Close it at once."""
        await cancel_and_wait(self._running)

    async def _run(self) -> None:
        deliveries = self._deliveries
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
            if deliveries is not None:
                await deliveries.close()
