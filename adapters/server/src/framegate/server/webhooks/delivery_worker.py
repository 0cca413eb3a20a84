"""Deliver events to their receivers, and retry until they have arrived."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog
from redis.backoff import AbstractBackoff, EqualJitterBackoff

from framegate.cli.app_context import AppContext
from framegate.core.errors import Unavailable
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.fetch import shown_url
from framegate.server.webhooks.events import Signer, event_body
from framegate.server.webhooks.sender import Answer, NoResponse, WebhookSender
from framegate.storage.connections import connect_async
from framegate.storage.webhook_deliveries import Delivery, ValkeyDeliveryStore

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
AT_ONCE = 32
AT_ONCE_TO_ONE_RECEIVER = 4
LEASE_MARGIN = 5.0
LONGEST_DELAY = 3600.0
GIVE_UP_AFTER = 86_400.0

GONE = 410

BACKOFF = EqualJitterBackoff(cap=LONGEST_DELAY, base=2)


class WebhookDeliveryWorker:
    """Deliver events in an API process; the workers of all processes share the work.

    A delivery is leased for one attempt at a time, so that another process takes over if this one dies. The
    receiver's answer is recorded last: if the record is lost, the same event is sent again, with the same id.
    """

    def __init__(
        self,
        store: ValkeyDeliveryStore,
        sender: WebhookSender,
        signer: Signer,
        *,
        backoff: AbstractBackoff = BACKOFF,
    ) -> None:
        self._store = store
        self._sender = sender
        self._signer = signer
        self._backoff = backoff
        self._under_way: Counter[str] = Counter()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Deliver until the task is cancelled."""
        this = asyncio.current_task()
        assert this is not None
        async with asyncio.TaskGroup() as attempts:
            while True:
                # redis-py loses a cancellation that arrives while it tests a connection.
                if this.cancelling():
                    raise asyncio.CancelledError
                self._ended.clear()
                try:
                    while delivery := await self._claim():
                        self._under_way[delivery.receiver] += 1
                        attempts.create_task(self._deliver(delivery))
                except Unavailable:
                    log.warning("webhooks_postponed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._ended.wait()

    async def _claim(self) -> Delivery | None:
        if self._under_way.total() >= AT_ONCE:
            return None
        busy = [name for name, count in self._under_way.items() if count >= AT_ONCE_TO_ONE_RECEIVER]
        return await self._store.claim(lease=self._sender.timeout + LEASE_MARGIN, exclude=busy)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except Unavailable:
            log.warning("webhook_not_settled", **_described(delivery))
        except Exception:
            # A bug of this server: the delivery is retried after its lease, and the others continue.
            log.exception("webhook_attempt_crashed", **_described(delivery))
        finally:
            self._under_way[delivery.receiver] -= 1
            self._under_way += Counter()  # drop entries that are 0
            self._ended.set()

    async def _attempt(self, delivery: Delivery) -> None:
        body = event_body(delivery)
        headers = self._signer.headers(delivery.event, int(time.time()), body)
        try:
            answer = await self._sender.post(delivery.url, body, headers)
        except NoResponse as error:
            await self._failed(delivery, str(error))
        else:
            await self._answered(delivery, answer)

    async def _answered(self, delivery: Delivery, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            await self._store.finish(delivery)
            log.info("webhook_delivered", **_described(delivery), status=answer.status)
        elif answer.status == GONE:
            await self._give_up(delivery, "HTTP 410: the receiver refuses further events")
        else:
            await self._failed(delivery, f"HTTP {answer.status}", requested=answer.retry_after)

    async def _failed(self, delivery: Delivery, reason: str, requested: float = 0.0) -> None:
        """Postpone the delivery; the receiver has requested a delay of ``requested`` seconds."""
        left = delivery.created_at + GIVE_UP_AFTER - time.time()
        delay = max(self._backoff.compute(delivery.attempt), min(requested, LONGEST_DELAY))
        if delay > left:
            await self._give_up(delivery, reason)
        else:
            await self._store.postpone(delivery, delay)
            log.warning("webhook_failed", **_described(delivery), reason=reason, retry_in=round(delay, 1))

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        await self._store.finish(delivery)
        log.error("webhook_given_up", **_described(delivery), reason=reason)


@asynccontextmanager
async def open_delivery_worker(context: AppContext) -> AsyncGenerator[WebhookDeliveryWorker | None]:
    """Open a delivery worker, or None where no secret is configured to sign events with.

    Raises:
        ConfigError: A secret's variable is not set, or holds something else.
    """
    webhooks = context.settings.webhooks
    if not webhooks.secrets:
        yield None
        return
    signer = Signer(webhooks.secrets)
    sender = WebhookSender(
        DialPolicy(context.settings.fetch.allow), timeout=webhooks.timeout, user_agent=context.user_agent
    )
    store = ValkeyDeliveryStore(connect_async(context.queue_url), prefix=context.settings.queue.prefix)
    try:
        yield WebhookDeliveryWorker(store, sender, signer)
    finally:
        await store.close()


def _described(delivery: Delivery) -> dict[str, str | int]:
    return {
        "webhook_id": delivery.event,
        "job_id": delivery.job_id,
        "url": shown_url(delivery.url),
        "attempt": delivery.attempt,
    }
