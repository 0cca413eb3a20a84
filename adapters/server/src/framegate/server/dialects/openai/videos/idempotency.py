"""Distinguish a retried request from a new one."""

import re
from collections.abc import Mapping

from framegate.core.ports import IdempotencyKey
from framegate.server.requests.idempotency import header_idempotency_key

RETRY_SECONDS = 60

_COUNT = re.compile(r"\d{1,4}", re.ASCII)


def idempotency_key(headers: Mapping[str, str], digest: str, *, since: float) -> IdempotencyKey | None:
    """Return the key by which a repeat of the request is recognised, None if the client sends none.

    It is made from the header ``Idempotency-Key``, or else from what OpenAI's SDKs send with every request,
    which is only the number of retries so far. ``digest`` is the request's fingerprint; its reading began
    at ``since``, by `time.monotonic`.

    Raises:
        InvalidRequest: The header is not a valid key.
    """
    if key := header_idempotency_key(headers, digest):
        return key
    count = headers.get("x-stainless-retry-count", "")
    if not _COUNT.fullmatch(count):
        return None
    return IdempotencyKey(
        key=f"sent:{digest}",
        fingerprint=digest,
        seconds=RETRY_SECONDS,
        repeat=int(count) > 0,
        retries=int(count),
        since=since,
    )
