"""Make one attempt at a delivery. The receiver is untrusted: its address and its answers may be hostile."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from msgspec import Struct

from framegate.media.network.addresses import DialPolicy
from framegate.media.network.client import default_user_agent, load_client
from framegate.media.network.lookups import HostLookups
from framegate.media.network.urls import InvalidUrl, parse_url

MAX_LOOKUPS = 192
MAX_LOOKUPS_PER_OWNER = 32


class Answer(Struct, frozen=True):
    """A receiver's answer; ``retry_after`` is the delay in seconds that it requests, 0 for none."""

    status: int
    retry_after: float = 0.0


class NoResponse(Exception):
    """The receiver did not respond; the message says why, without addresses."""


class WebhookSender:
    """Send events to addresses that ``policy`` allows; an attempt may take ``timeout`` seconds.

    ``user_agent`` tells the receivers who sends (by default, Framegate).
    """

    def __init__(self, policy: DialPolicy, *, timeout: float, user_agent: str = "") -> None:
        self.timeout = timeout
        self._policy = policy
        self._lookups = HostLookups(total=MAX_LOOKUPS, per_owner=MAX_LOOKUPS_PER_OWNER)
        agent = user_agent or default_user_agent()
        self._headers = {"Content-Type": "application/json", "User-Agent": agent}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str = "") -> Answer:
        """Send an event, and return the head of the answer.

        The answer's body is not read, and redirects are not followed. Host names are looked up in slots
        that the ``owner`` shares with others.

        Raises:
            NoResponse: There was no valid response in time.
        """
        try:
            target = parse_url(url)
        except InvalidUrl as error:
            raise NoResponse(f"its URL {error}") from None
        await load_client()
        from framegate.media.network.failures import failure_reason
        from framegate.media.network.metering import Meter
        from framegate.media.network.sessions import FAILURES, OwnerResolver, guarded_session

        guard = self._policy.guard(target.raw_host or "")
        resolver = OwnerResolver(self._lookups, owner)
        try:
            async with (
                asyncio.timeout(self.timeout),
                guarded_session(guard, self._headers, resolver=resolver, meter=Meter()) as session,
                session.post(target, data=body, headers=headers, allow_redirects=False) as response,
            ):
                answer = Answer(response.status, _retry_after(response.headers))
                response.close()
                return answer
        except TimeoutError:
            raise NoResponse(f"no response within {self.timeout:g} s") from None
        except FAILURES as error:
            raise NoResponse(failure_reason(error, guard)) from None


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return the delay that a Retry-After header names, by a number of seconds or a date; 0 for neither.

    A date is compared with that of the answer, as the receiver's clock may differ from this host's.
    """
    text = headers.get("Retry-After", "")
    try:
        seconds = int(text) if text.isdecimal() else _timestamp(text) - _sent_at(headers)
        return max(0.0, float(seconds))
    except (ValueError, OverflowError):
        return 0.0


def _sent_at(headers: Mapping[str, str]) -> float:
    try:
        return _timestamp(headers.get("Date", ""))
    except (ValueError, OverflowError):
        return time.time()


def _timestamp(text: str) -> float:
    return parsedate_to_datetime(text).timestamp()
