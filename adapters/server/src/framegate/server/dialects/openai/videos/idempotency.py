"""Distinguish a retried request from a new one."""

import hashlib
import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.ports import IdempotencyKey

KEY_SECONDS = 86_400
RETRY_SECONDS = 60

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_COUNT = re.compile(r"\d{1,4}", re.ASCII)


def fingerprint(call: str, fields: Struct, uploads: Mapping[str, bytes]) -> str:
    """Return a digest of a request's content.

    It does not depend on how the request was encoded: each retry of a form has another boundary.
    """
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in uploads.items()}
    return hashlib.sha256(msgspec.json.encode((call, fields, digests), order="sorted")).hexdigest()


def idempotency_key(headers: Mapping[str, str], digest: str, *, since: float) -> IdempotencyKey | None:
    """Return the key by which a repeat of the request is recognised, None if the client sends none.

    It is made from the header ``Idempotency-Key``, or else from what OpenAI's SDKs send with every request,
    which is only the number of retries so far. ``digest`` is the request's fingerprint; its reading began
    at ``since``, by `time.monotonic`.

    Raises:
        InvalidRequest: The header is not a valid key.
    """
    key = headers.get("idempotency-key")
    if key is not None:
        if not _KEY.fullmatch(key):
            raise InvalidRequest("The Idempotency-Key should be 1 to 255 printable ASCII characters.")
        return IdempotencyKey(key=f"key:{key}", fingerprint=digest, seconds=KEY_SECONDS)
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
