"""Deliver events to their receivers, and retry until they have arrived."""

import asyncio
import contextlib

import structlog
from redis.backoff import AbstractBackoff, EqualJitterBackoff

from framegate.cli.app_context import AppContext
from framegate.core.errors import Unavailable
from framegate.media.network.addresses import DialPolicy
from framegate.media.network.urls import shown_url
from framegate.server.webhooks.events import Signer, event_body
from framegate.server.webhooks.sender import Answer, NoResponse, WebhookSender
from framegate.server.webhooks.slots import DeliverySlots
from framegate.storage.connections import connect_async
from framegate.storage.webhook_deliveries import (
    LONGEST_DELAY,
    PAUSE_AFTER,
    Claim,
    Delivery,
    Outcome,
    Settlement,
    ValkeyDeliveryStore,
)

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
LEASE_MARGIN = 5.0
LONGEST_PAUSE = 600.0
"""Seconds after which a receiver that is away is tried again, at most."""

GONE = 410
AWAY = frozenset({502, 503, 504})
"""What proxies answer for a receiver that they can't reach."""

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
        self._slots = DeliverySlots()
        self._ended = asyncio.Event()
        self._finishing = False

    def finish(self) -> None:
        """Let `run` end once the attempts in progress have; another worker makes the next ones."""
        self._finishing = True
        self._ended.set()

    async def run(self) -> None:
        """Deliver until the task is cancelled, or `finish` is called."""
        this = asyncio.current_task()
        assert this is not None
        async with asyncio.TaskGroup() as attempts:
            while not self._finishing:
                # redis-py loses a cancellation that arrives while it tests a connection.
                if this.cancelling():
                    raise asyncio.CancelledError
                self._ended.clear()
                try:
                    await self._begin_attempts(attempts)
                except Unavailable:
                    log.warning("webhooks_postponed")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0 if self._finishing else POLL_SECONDS):
                        await self._ended.wait()

    async def close(self) -> None:
        """Close its connections, once it has ended."""
        await self._store.close()

    async def _begin_attempts(self, attempts: asyncio.TaskGroup) -> None:
        """Begin an attempt at each delivery that is due and for which there is a slot."""
        while claim := await self._claim():
            for delivery in claim.given_up:
                _log_given_up(delivery, "its receiver has been away for a day")
            if claim.delivery is not None:
                self._slots.take(claim.delivery)
                attempts.create_task(self._deliver(claim.delivery))
            elif not claim.has_more:
                return

    async def _claim(self) -> Claim | None:
        occupied = self._slots.occupied()
        if occupied is None:
            return None
        return await self._store.claim(lease=self._sender.timeout + LEASE_MARGIN, occupied=occupied)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except Unavailable:
            log.warning("webhook_not_settled", **_described(delivery))
        except Exception:
            # A bug of this server: the delivery is retried after its lease, and the others continue.
            log.exception("webhook_not_settled", **_described(delivery))
        finally:
            self._slots.release(delivery)
            self._ended.set()

    async def _attempt(self, delivery: Delivery) -> None:
        try:
            body = event_body(delivery)
            # Valkey's clock, as in the event itself: one for all hosts, and no attempt precedes its event.
            headers = self._signer.headers(delivery.event, int(delivery.claimed_at), body)
            owner = f"{delivery.standing} {delivery.owner}"
            answer = await self._sender.post(delivery.url, body, headers, owner=owner)
        except NoResponse as error:
            await self._failed(delivery, Outcome.FAILED, str(error))
        except Exception:
            # Another one: nothing is known of the receiver, and the delivery is retried.
            log.exception("webhook_attempt_crashed", **_described(delivery))
            await self._store.postpone(delivery, self._backoff.compute(delivery.attempt), Outcome.UNKNOWN)
        else:
            await self._answered(delivery, answer)

    async def _answered(self, delivery: Delivery, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            settlement = await self._store.finish(delivery)
            log.info("webhook_delivered", **_described(delivery), status=answer.status)
            _log_receiver(delivery, settlement)
        elif answer.status == GONE:
            settlement = await self._store.finish(delivery, Outcome.ANSWERED)
            _log_given_up(delivery, "HTTP 410: the receiver refuses further events")
            _log_receiver(delivery, settlement)
        else:
            outcome = Outcome.FAILED if answer.status in AWAY else Outcome.ANSWERED
            await self._failed(delivery, outcome, f"HTTP {answer.status}", requested=answer.retry_after)

    async def _failed(
        self, delivery: Delivery, outcome: Outcome, reason: str, *, requested: float = 0.0
    ) -> None:
        """Postpone the delivery; the receiver has requested a delay of ``requested`` seconds."""
        delay, pause = self._backoff.compute(delivery.attempt), 0.0
        if outcome is Outcome.FAILED:
            # The receiver is tried ever more rarely; what waits for it is sent soon once it is back.
            delay = min(delay, LONGEST_PAUSE)
            pauses = max(1, delivery.failures + 2 - PAUSE_AFTER)
            pause = min(self._backoff.compute(pauses), LONGEST_PAUSE)
        delay = max(delay, min(requested, LONGEST_DELAY))
        settlement = await self._store.postpone(delivery, delay, outcome, pause=pause)
        if settlement.given_up:
            _log_given_up(delivery, reason)
        else:
            retry_in = max(delay, pause) if settlement.failures >= PAUSE_AFTER else delay
            log.warning("webhook_failed", **_described(delivery), reason=reason, retry_in=round(retry_in, 1))
        _log_receiver(delivery, settlement, reason)


def create_delivery_worker(context: AppContext) -> WebhookDeliveryWorker | None:
    """Return a delivery worker, or None where no secret is configured to sign events with.

    It connects when it runs.

    Raises:
        ConfigError: A secret's variable is not set, or holds something else.
    """
    webhooks = context.settings.webhooks
    if not webhooks.secrets:
        return None
    signer = Signer(webhooks.secrets)
    sender = WebhookSender(
        DialPolicy(context.settings.fetch.allow), timeout=webhooks.timeout, user_agent=context.user_agent
    )
    store = ValkeyDeliveryStore(
        connect_async(context.queue_url),
        prefix=context.settings.queue.prefix,
        operator_urls=context.webhooks.addresses(""),
    )
    return WebhookDeliveryWorker(store, sender, signer)


def _described(delivery: Delivery) -> dict[str, str | int]:
    return {
        "webhook_id": delivery.event,
        "job_id": delivery.job_id,
        "url": shown_url(delivery.url),
        "attempt": delivery.attempt,
    }


def _log_given_up(delivery: Delivery, reason: str) -> None:
    log.error("webhook_given_up", **_described(delivery), reason=reason)


def _log_receiver(delivery: Delivery, settlement: Settlement, reason: str = "") -> None:
    """Log that the receiver is left alone for a while now, or has come back."""
    receiver = {"receiver": delivery.host, "owner": delivery.owner}
    if settlement.receiver_paused:
        log.warning("webhook_receiver_paused", **receiver, failures=settlement.failures, reason=reason)
    elif settlement.receiver_back:
        log.info("webhook_receiver_back", **receiver)
