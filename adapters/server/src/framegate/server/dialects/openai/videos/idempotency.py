"""How the second sending of a request is told from a second request."""

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
    """A digest of what is asked for, whatever the wire looked like: each sending of a form has another
    boundary."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in uploads.items()}
    return hashlib.sha256(msgspec.json.encode((call, fields, digests), order="sorted")).hexdigest()


def idempotency_key(headers: Mapping[str, str], asked: str, *, age: float) -> IdempotencyKey | None:
    """By an ``Idempotency-Key``; else by what OpenAI's SDKs say with every sending, which is only how often
    they have tried before. None: the client says nothing. ``asked`` is the request's fingerprint, ``age`` for
    how many seconds it has been read.

    Raises:
        InvalidRequest: the key is none.
    """
    key = headers.get("idempotency-key")
    if key is not None:
        if not _KEY.fullmatch(key):
            raise InvalidRequest("The Idempotency-Key should be 1 to 255 printable ASCII characters.")
        return IdempotencyKey(key=f"key:{key}", fingerprint=asked, seconds=KEY_SECONDS)
    count = headers.get("x-stainless-retry-count", "")
    if not _COUNT.fullmatch(count):
        return None
    return IdempotencyKey(
        key=f"sent:{asked}", fingerprint=asked, seconds=RETRY_SECONDS, repeat=int(count) > 0, age=age
    )
