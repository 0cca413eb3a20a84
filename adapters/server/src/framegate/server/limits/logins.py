"""Refuse to look at the keys of addresses that have sent too many wrong ones."""

from collections import OrderedDict

import structlog
from litestar.types import Scope

from framegate.core.errors import RateLimited
from framegate.core.ports import Rate
from framegate.server.limits.limiter import RateLimiter, whole_seconds
from framegate.server.requests.forwarded import client_network

log = structlog.get_logger(__name__)

_MAX_KNOWN = 20_000


class LoginThrottle:
    """Limit the requests with a missing or wrong key to ``per_minute`` for each address; 0 means no limit.

    Beyond it, an address gets no answer to the question whether a key is valid, except for the keys with
    which it was let in before: others may share the address, and one of their clients with an old key does
    not lock them out. These keys are remembered as pairs of address and header by their hash, which is
    Python's own and differs in each process; ``known`` holds them, the one used last at its end.
    """

    def __init__(self, limiter: RateLimiter, per_minute: int, *, known: OrderedDict[int, None]) -> None:
        self._limiter = limiter
        self._rate = Rate(per_minute) if per_minute else None
        self._known = known

    def check(self, scope: Scope, authorization: str | None) -> None:
        """Check whether the key in an Authorization header may be looked at.

        Raises:
            RateLimited: The address has sent too many wrong ones, and never this one while it was right.
        """
        if self._rate is None:
            return
        address = client_network(scope)
        wait = self._limiter.refused_for(_name(address))
        if wait and hash((address, authorization)) not in self._known:
            raise _too_many_failures(wait)

    def succeeded(self, scope: Scope, authorization: str | None) -> None:
        """Remember that the key was right."""
        if self._rate is None:
            return
        pair = hash((client_network(scope), authorization))
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    async def failed(self, scope: Scope) -> None:
        """Count a missing or wrong key.

        Raises:
            RateLimited: This is one too many.
        """
        address = client_network(scope)
        if self._rate is None or not address:
            return
        if wait := await self._limiter.take(_name(address), self._rate):
            log.warning("failed_logins_limited", address=address)
            raise _too_many_failures(wait)


def _name(address: str) -> str:
    return f"logins:{address}"


def _too_many_failures(wait: float) -> RateLimited:
    seconds = whole_seconds(wait)
    return RateLimited(
        "Too many requests with a missing or wrong API key came from your address; "
        f"try again in {seconds} s.",
        retry_after=seconds,
    )
