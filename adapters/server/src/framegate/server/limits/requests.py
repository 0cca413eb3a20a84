"""Refuse the requests of keys and addresses that have sent as many as they may."""

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from framegate.core.errors import RateLimited
from framegate.core.ports import Rate
from framegate.core.submission import Client
from framegate.server.errors.error_info import Refuse
from framegate.server.limits.limiter import RateLimiter, whole_seconds
from framegate.server.requests.forwarded import client_network

log = structlog.get_logger(__name__)

_PROBES = frozenset({"/health", "/ready"})
"""The paths that orchestrators and load balancers ask, for everybody behind them."""


class AddressLimit:
    """ASGI middleware that lets each address send requests at a ``rate``."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter, rate: Rate, refuse: Refuse) -> None:
        self._app = app
        self._limiter = limiter
        self._rate = rate
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == ScopeType.HTTP and scope["path"] not in _PROBES:
            address = client_network(scope)
            if address and (wait := await self._limiter.take(f"address:{address}", self._rate)):
                error = rate_limited("Your address", self._rate, wait)
                log.warning("address_rate_limited", address=address)
                await self._refuse(scope, receive, send, error)
                return
        await self._app(scope, receive, send)


async def check_key_rate(limiter: RateLimiter, client: Client) -> None:
    """Count a request of a key.

    Raises:
        RateLimited: It has sent as many as it may.
    """
    if not client.requests_per_minute:
        return
    rate = Rate(client.requests_per_minute, client.request_burst or 0)
    if wait := await limiter.take(f"key:{client.name}", rate):
        raise rate_limited("This key", rate, wait)


def rate_limited(who: str, rate: Rate, wait: float) -> RateLimited:
    """Return the error for a request too many; the next one is let through in ``wait`` seconds."""
    seconds = whole_seconds(wait)
    limit = f"{rate.per_minute:,} requests per minute"
    if rate.burst:
        limit += f", {rate.burst:,} of them within a second"
    return RateLimited(
        f"{who} has sent as many requests as it may, which is {limit}; try again in {seconds} s.",
        retry_after=seconds,
    )
