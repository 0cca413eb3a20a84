"""Events in the format of OpenAI's SDK, signed as Standard Webhooks specifies."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.jobs import JobState
from framegate.core.options import EnvSecret
from framegate.storage.webhook_deliveries import Delivery

PREFIX = "whsec_"
_KEY = ("webhooks", "secret")
KEY_BYTES = range(24, 65)

_TYPES = {JobState.SUCCEEDED: "video.completed", JobState.FAILED: "video.failed"}


class _Data(Struct, frozen=True):
    id: str


class _Event(Struct, frozen=True, kw_only=True):
    id: str
    object: str = "event"
    type: str
    created_at: int
    data: _Data


def event_body(delivery: Delivery) -> bytes:
    """Return the event of a delivery as JSON."""
    return msgspec.json.encode(
        _Event(
            id=delivery.event,
            type=_TYPES[delivery.outcome],
            created_at=delivery.created_at,
            data=_Data(delivery.job_id),
        )
    )


class Signer:
    """Sign events with all of ``secrets``, so that receivers can switch to a new one at their own pace.

    Raises:
        ConfigError: A variable is not set, or holds something other than a secret.
    """

    def __init__(self, secrets: Sequence[EnvSecret]) -> None:
        self._keys = [_read_secret(secret.env) for secret in secrets]

    def headers(self, message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
        """Return the headers of an attempt made at ``timestamp``, in seconds since the epoch."""
        signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
        signatures = [hmac.digest(key, signed, hashlib.sha256) for key in self._keys]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{base64.b64encode(mac).decode()}" for mac in signatures),
        }


def _read_secret(variable: str) -> bytes:
    text = os.environ.get(variable, "")
    if not text:
        raise ConfigError(f"the environment variable {variable} is not set.", key=_KEY)
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except ValueError:
        key = b""
    if not text.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ConfigError(
            f"the environment variable {variable} does not hold {PREFIX} and the base64 of {KEY_BYTES[0]} to "
            f'{KEY_BYTES[-1]} bytes, as `echo "{PREFIX}$(openssl rand -base64 32)"` makes one.',
            key=_KEY,
        )
    return key
