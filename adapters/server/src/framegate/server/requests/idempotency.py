"""The header ``Idempotency-Key``, by which a repeated request is recognised."""

import hashlib
import re
from collections.abc import Mapping

import msgspec

from framegate.core.concurrency import PARSER_THREADS
from framegate.core.errors import InvalidRequest
from framegate.core.ports import IdempotencyKey
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.body_limits import LARGE

KEY_SECONDS = 86_400

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def fingerprint(call: str, fields: object, uploads: Mapping[str, bytes]) -> str:
    """Return a digest of a request's content.

    It does not depend on how the request was encoded: each retry of a form has another boundary.
    """
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in uploads.items()}
    return hashlib.sha256(msgspec.json.encode((call, fields, digests), order="sorted")).hexdigest()


async def request_fingerprint(
    request: HTTPRequest, call: str, fields: object, uploads: Mapping[str, bytes]
) -> str:
    """Return the `fingerprint` of a request whose body has been read."""
    if _is_small(request):
        return fingerprint(call, fields, uploads)
    return await PARSER_THREADS.run(fingerprint, call, fields, uploads)


def _is_small(request: HTTPRequest) -> bool:
    """Return whether the body is known to have taken less time to read than a thread takes to start."""
    length = request.headers.get("content-length", "")
    return length.isdecimal() and int(length) <= LARGE and "content-encoding" not in request.headers


def header_idempotency_key(headers: Mapping[str, str], digest: str) -> IdempotencyKey | None:
    """Return the key that the header gives, None without one; ``digest`` is the request's fingerprint.

    Raises:
        InvalidRequest: The header is not a valid key.
    """
    key = headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise InvalidRequest("The Idempotency-Key should be 1 to 255 printable ASCII characters.")
    return IdempotencyKey(key=f"key:{key}", fingerprint=digest, seconds=KEY_SECONDS)
