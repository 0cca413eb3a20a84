"""Sign links to results with an expiry, and check the signatures."""

import hashlib
import hmac
import math
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qs

from litestar.types import Scope
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.ports import SecretStore
from framegate.core.settings import LinkSettings
from framegate.server.errors.error_info import LinkExpired, LinkRefused

EXPIRES, SIGNATURE = "expires", "signature"
MIN_SECRET = 32
"""The characters that a configured secret has at least."""
_SECRET_KEY = ("links", "secret")
_STORED = "links"
_MOST_PARAMETERS = 50
_ASK_AGAIN = "ask for the result again to get a new link."


class SignedLink(Struct, frozen=True):
    """A valid link that a request came by: when it expires, in seconds since the epoch and from now."""

    expires: int
    seconds_left: float


class LinkSigner:
    """Sign links, each for ``lifetime`` seconds from its making; with an infinite one links are plain.

    The signature is an HMAC over the file and the expiry, not over the URL, which proxies change. The first
    of ``secrets`` signs, and all of them are accepted; without any, one from ``store`` does both. ``clock``
    returns seconds since the epoch.
    """

    def __init__(
        self,
        lifetime: float = math.inf,
        *,
        secrets: Sequence[bytes] = (),
        store: SecretStore | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lifetime = lifetime
        self._secrets = secrets
        self._store = store
        self._clock = clock

    @property
    def signs(self) -> bool:
        """Whether links have to be signed."""
        return self._lifetime < math.inf

    async def sign(self, file: str) -> str:
        """Return the query that a link to ``file`` needs, empty for a plain link.

        Raises:
            Unavailable: The secret is in a store that can't be reached.
        """
        if not self.signs:
            return ""
        expires = str(math.ceil(self._clock() + self._lifetime))
        return f"{EXPIRES}={expires}&{SIGNATURE}={_signature((await self._keys())[0], file, expires)}"

    async def check(self, file: str, scope: Scope) -> SignedLink | None:
        """Return the signature by which a request may fetch ``file``; None if none is needed.

        Other parameters of the query don't count: players add their own.

        Raises:
            LinkRefused: The request has no signature, or one of something else.
            LinkExpired: The signature was valid once.
            Unavailable: As for `sign`.
        """
        if not self.signs:
            return None
        expires, signature = _parameters(scope)
        if not expires or not signature:
            raise LinkRefused(f"This link is not signed, which links to results have to be; {_ASK_AGAIN}")
        known = [_signature(key, file, expires) for key in await self._keys()]
        valid = [hmac.compare_digest(each.encode(), signature.encode()) for each in known]
        if not any(valid):
            raise LinkRefused(f"The signature of this link is not valid; {_ASK_AGAIN}")
        left = int(expires) - self._clock()
        if left <= 0:
            moment = datetime.fromtimestamp(int(expires), UTC)
            raise LinkExpired(f"This link expired at {moment:%Y-%m-%dT%H:%M:%SZ}; {_ASK_AGAIN}")
        return SignedLink(int(expires), left)

    async def _keys(self) -> Sequence[bytes]:
        if not self._secrets:
            assert self._store is not None
            self._secrets = [await self._store.get_or_create(_STORED)]
        return self._secrets


def make_signer(
    settings: LinkSettings, store: SecretStore, *, clock: Callable[[], float] = time.time
) -> LinkSigner:
    """Return the signer that the config describes.

    Raises:
        ConfigError: The expiry is less than a second, or a secret is missing or short.
    """
    if settings.expiry < 1:
        raise ConfigError(
            f"{settings.expiry:g} s is too short for any download; write a duration such as "
            '"1h", or "forever".',
            key=("links", "expiry"),
        )
    secrets = [_reveal(secret.reveal(*_SECRET_KEY), secret.env) for secret in settings.secrets]
    return LinkSigner(settings.expiry, secrets=secrets, store=store, clock=clock)


def _reveal(secret: str, variable: str) -> bytes:
    if len(secret) < MIN_SECRET:
        raise ConfigError(
            f"the environment variable {variable} holds {len(secret)} characters, and a secret has "
            f"{MIN_SECRET} or more; `openssl rand -base64 32` makes one.",
            key=_SECRET_KEY,
        )
    return secret.encode()


def _signature(key: bytes, file: str, expires: str) -> str:
    message = f"framegate link\n{file}\n{expires}".encode()
    return urlsafe_b64encode(hmac.digest(key, message, hashlib.sha256)).rstrip(b"=").decode()


def _parameters(scope: Scope) -> tuple[str, str]:
    """Return the expiry and the signature in a query; empty if missing, or given more than once."""
    try:
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=_MOST_PARAMETERS)
    except ValueError:
        return "", ""
    expires, signature = query.get(EXPIRES, []), query.get(SIGNATURE, [])
    return (expires[0], signature[0]) if len(expires) == len(signature) == 1 else ("", "")
