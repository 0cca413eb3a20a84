"""All valid keys of the server in memory, so that a request costs no trip to Valkey."""

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime

import structlog
from msgspec import Struct

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import Unauthorized, Unavailable
from framegate.core.keys import KeyGrants, StoredKey
from framegate.core.ports import KeyStore
from framegate.core.settings import KeyConfig
from framegate.core.submission import Client

log = structlog.get_logger(__name__)

_USES_SECONDS = 60.0


class _Entry(Struct, frozen=True):
    client: Client
    expires_at: float


class KeyRing:
    """The keys of the config, and those of ``store``, kept as SHA-256 digests.

    ``defaults`` are the limits of keys that have none of their own. All clients that need no key, although
    there are keys, are ``anonymous``: together they have the limits of one.

    `follow` keeps it up to date. While the store can't be reached, the last known keys stay valid, and
    nothing else becomes valid.

    A digest is found by a dictionary. How long that takes says nothing of use: which entries a digest is
    compared with depends on Python's hash of it, which is random in each process, and what a client sends is
    not the digest but a text, whose digest it can't steer.

    Raises:
        ConfigError: A key is missing, its environment variable is not set, or two names share it.
    """

    def __init__(
        self,
        configured: Sequence[KeyConfig],
        store: KeyStore | None = None,
        *,
        defaults: Mapping[str, int] | None = None,
    ) -> None:
        self._store = store
        self._version: int | None = None if store else 0
        self._stored: Sequence[StoredKey] = ()
        self._has_stored = False
        self._uses: dict[str, float] = {}
        self._uses_noted_at = time.monotonic()
        self.reconfigure(configured, defaults=defaults or {})

    def reconfigure(self, configured: Sequence[KeyConfig], *, defaults: Mapping[str, int]) -> None:
        """Replace the keys of the config and the limits of those that have none; the store's stay.

        Raises:
            ConfigError: As for a new ring, which then stays as it is.
        """
        entries = _configured_entries(configured, defaults)
        self._defaults = defaults
        self.anonymous = Client.of("", KeyGrants().with_defaults(defaults))
        self._configured = entries
        self._compose()

    def _compose(self) -> None:
        # A name that the config has taken since is the config's.
        names = {entry.client.name for entry in self._configured.values()}
        own = _stored_entries((key for key in self._stored if key.name not in names), self._defaults)
        self._entries = {**own, **self._configured}

    @property
    def keyed(self) -> bool:
        """Whether requests need a key.

        They do once the config or the store has one, also after the last one of the store was revoked.
        """
        return bool(self._configured) or self.has_stored

    @property
    def has_stored(self) -> bool:
        """Whether the store has keys, or had some that were revoked."""
        return self._has_stored

    @property
    def known(self) -> bool:
        """Whether the store's keys have been read."""
        return self._version is not None

    def authenticate(self, authorization: str | None) -> Client:
        """Return the client whose key is in an Authorization header.

        Raises:
            Unauthorized: The header has no key, or an unknown or expired one.
            Unavailable: The key may be one of the store, which couldn't be read yet.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized("The request has no API key; send one as 'Authorization: Bearer KEY'.")
        entry = self._entries.get(hashlib.sha256(secret.strip().encode("latin-1")).digest())
        if entry is None:
            self.require_known()
            raise Unauthorized("The API key is not valid.")
        now = time.time()
        if now >= entry.expires_at:
            raise Unauthorized("The API key has expired.")
        self._uses[entry.client.name] = now
        return entry.client

    def require_known(self) -> None:
        """Check that the store's keys have been read.

        Raises:
            Unavailable: They haven't, so nobody can tell whose request it is.
        """
        if not self.known:
            raise Unavailable("The API keys can't be read right now; try again shortly.")

    async def load(self) -> None:
        """Read the store's keys if they have changed.

        Raises:
            Unavailable: The store can't be reached; the ring stays as it is.
        """
        if self._store is None or await self._store.version() == self._version:
            return
        stored = await self._store.read()
        self._stored, self._version = stored.keys, stored.version
        self._has_stored = self._has_stored or stored.version > 0
        self._compose()
        if stored.version:
            log.info("api_keys_loaded", stored=len(stored.keys), version=stored.version)

    async def follow(self) -> None:
        """Keep the ring up to date, and note now and then when keys were last used, until cancelled."""
        if self._store is None:
            return
        async with aclosing(self._store.changes()) as changes:
            async for _ in changes:
                with suppress(Unavailable):
                    await self.load()
                    await self._note_uses(self._store)

    async def _note_uses(self, store: KeyStore) -> None:
        if self._uses and time.monotonic() - self._uses_noted_at >= _USES_SECONDS:
            self._uses_noted_at = time.monotonic()
            uses, self._uses = self._uses, {}
            await store.note_uses(uses)


def _configured_entries(keys: Sequence[KeyConfig], defaults: Mapping[str, int]) -> dict[bytes, _Entry]:
    entries: dict[bytes, _Entry] = {}
    found = ErrorCollector()
    for config in keys:
        client = Client.of(config.name, config.with_defaults(defaults))
        entry = _Entry(client, _seconds(config.expires_at))
        digests: Sequence[bytes] = ()
        with found.catching():
            digests = config.digests()
        for digest in digests:
            other = entries.setdefault(digest, entry).client.name
            if other != config.name:
                found.add(
                    f"{other!r} and {config.name!r} have the same key; give each name its own, as a key "
                    "tells whose jobs a request may see.",
                    *("auth", "keys", config.name),
                )
    found.raise_errors()
    return entries


def _stored_entries(keys: Iterable[StoredKey], defaults: Mapping[str, int]) -> dict[bytes, _Entry]:
    return {
        bytes.fromhex(secret.sha256): _Entry(client, min(expires_at, _seconds(secret.expires_at)))
        for client, expires_at, secrets in (
            (Client.of(key.name, key.with_defaults(defaults)), _seconds(key.expires_at), key.secrets)
            for key in keys
        )
        for secret in secrets
    }


def _seconds(moment: datetime | None) -> float:
    return math.inf if moment is None else moment.timestamp()
