"""Webhook deliveries in Valkey. They begin in the step that ends a job, and may outlive its record."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec
import redis.asyncio
import structlog
from msgspec import Struct, field

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import JobState
from framegate.storage import scripts
from framegate.storage.connections import outages_as_unavailable
from framegate.storage.jobs.records import PREFIX
from framegate.storage.schema import SCHEMA, Layout, damage_as_unreadable, read_stamp, unchanged

log = structlog.get_logger(__name__)

LONGEST_DELAY = 3600.0
"""Seconds between two attempts at most."""
GIVE_UP_AFTER = 86_400.0
"""Seconds after its event for which a delivery is tried."""
PAUSE_AFTER = 3
"""The failures in a row after which a receiver is left alone for a while."""


class Standing(StrEnum):
    """What is known of a receiver: it has accepted an event lately, nothing, or its last attempt failed."""

    PROVEN = "proven"
    NEW = "new"
    FAILING = "failing"


class Outcome(StrEnum):
    """How a receiver did: it accepted the event, answered something else, or is away."""

    ACCEPTED = "accepted"
    ANSWERED = "answered"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one URL.

    ``created_at`` is when the job ended, in whole seconds since the epoch, ``receiver`` the URL's host and
    port as the job's owner uses it, ``attempt`` the number of the attempt that was claimed, from 1.
    ``claimed_at`` is when it was claimed, in seconds since the epoch; ``standing`` and ``failures`` (in a
    row) are the receiver's at that time. All times are by Valkey's clock.
    """

    id: str
    event: str
    outcome: JobState
    job_id: str
    created_at: int
    url: str
    receiver: str
    attempt: int
    claimed_at: float
    standing: Standing
    failures: int

    @property
    def owner(self) -> str:
        """Whose receiver it is; "" for the operator's own, and if the version that stored it did not say."""
        return self.receiver.rpartition("@")[0]

    @property
    def host(self) -> str:
        """The receiver's host and port, whoever uses it."""
        return self.receiver.rpartition("@")[2]


class Occupied(Struct, frozen=True, kw_only=True):
    """Who has no slot left: owners, by each standing that has slots, receivers, and hosts."""

    owners: Mapping[Standing, Sequence[str]] = field(default_factory=lambda: dict.fromkeys(Standing, ()))
    receivers: Sequence[str] = ()
    hosts: Sequence[str] = ()


class Claim(Struct, frozen=True, kw_only=True):
    """A delivery, if one is due, and those that are given up without another attempt.

    ``has_more`` says that there may be another one due even if none was found.
    """

    delivery: Delivery | None
    given_up: Sequence[Delivery]
    has_more: bool


class Settlement(Struct, frozen=True, kw_only=True):
    """What has become of a delivery, and its receiver's failures in a row before and after the attempt."""

    given_up: bool
    failures_before: int
    failures: int

    @property
    def receiver_paused(self) -> bool:
        """Whether this was the failure after which the receiver is left alone for a while."""
        return self.failures_before < PAUSE_AFTER <= self.failures

    @property
    def receiver_back(self) -> bool:
        """Whether the receiver had been left alone, and has answered."""
        return self.failures < PAUSE_AFTER <= self.failures_before


_layout = Layout(Delivery, unchanged)


class ValkeyDeliveryStore:
    """The deliveries that have not been made yet; any number of processes may share them.

    ``operator_urls`` are the operator's own, which events of all owners are sent to. Every method raises
    `Unavailable` when Valkey can't be reached.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, prefix: str = PREFIX, operator_urls: Sequence[str] = ()
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._operator_urls = operator_urls
        self._claim = client.register_script(scripts.CLAIM_DELIVERY)
        self._settle = client.register_script(scripts.SETTLE_DELIVERY)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def claim(self, *, lease: float, occupied: Occupied | None = None) -> Claim:
        """Claim a delivery that is due, of those who are not ``occupied``.

        The owners are served in turn, and so are the receivers of each; proven receivers come first, and
        failing ones last. The delivery is the caller's for ``lease`` seconds, then due again. Deliveries of
        later versions are left alone.
        """
        occupied = occupied or Occupied()
        call = {
            "lease": lease,
            "schema": SCHEMA,
            "longest": max(LONGEST_DELAY, lease),
            "give_up_after": GIVE_UP_AFTER,
            "pause_after": PAUSE_AFTER,
            "operator": self._operator_urls,
            "owners": occupied.owners,
            "receivers": occupied.receivers,
            "hosts": occupied.hosts,
        }
        with outages_as_unavailable():
            found, given_up, more = await self._claim(keys=[self._prefix], args=[msgspec.json.encode(call)])
        delivery = _read(found) if found else None
        if found and delivery is None:
            fields = _fields(found)
            await self._end_attempt(
                fields["id"],
                fields["receiver"],
                int(fields["attempt"]),
                outcome=Outcome.UNKNOWN,
                delay=LONGEST_DELAY,
            )
        return Claim(
            delivery=delivery,
            given_up=[readable for fields in given_up if (readable := _read(fields))],
            has_more=bool(more) or (bool(found) and delivery is None),
        )

    async def finish(self, delivery: Delivery, outcome: Outcome = Outcome.ACCEPTED) -> Settlement:
        """Remove the delivery: it has arrived, or is given up."""
        return await self._end_attempt(
            delivery.id, delivery.receiver, delivery.attempt, outcome=outcome, delay=None
        )

    async def postpone(
        self,
        delivery: Delivery,
        seconds: float,
        outcome: Outcome = Outcome.ANSWERED,
        *,
        pause: float = 0.0,
    ) -> Settlement:
        """Try the delivery again after ``seconds``, unless another attempt has begun meanwhile.

        It is given up if it would be too old by then. A receiver that is away for the `PAUSE_AFTER`-th time
        in a row, or more, is left alone for ``pause`` seconds.
        """
        return await self._end_attempt(
            delivery.id, delivery.receiver, delivery.attempt, outcome=outcome, delay=seconds, pause=pause
        )

    async def _end_attempt(
        self,
        delivery_id: str,
        receiver: str,
        attempt: int,
        *,
        outcome: Outcome,
        delay: float | None,
        pause: float = 0.0,
    ) -> Settlement:
        call = {
            "id": delivery_id,
            "receiver": receiver,
            "attempt": attempt,
            "outcome": outcome,
            "pause": pause,
            "pause_after": PAUSE_AFTER,
            "give_up_after": GIVE_UP_AFTER,
        }
        if delay is not None:
            call["delay"] = delay
        with outages_as_unavailable():
            given_up, before, after = await self._settle(
                keys=[self._prefix], args=[msgspec.json.encode(call)]
            )
        return Settlement(given_up=bool(given_up), failures_before=int(before), failures=int(after))


def _fields(reply: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def _read(reply: Sequence[str]) -> Delivery | None:
    """Return the delivery of a script's reply, or None if it is damaged; the log has a line about it."""
    fields = _fields(reply)
    try:
        with damage_as_unreadable("This delivery"):
            return _layout.convert(fields, read_stamp(fields))
    except UnreadableRecord as error:
        log.warning("webhook_delivery_damaged", delivery_id=fields["id"], reason=error.message)
        return None
