"""API keys as operators manage them, from the command line and over HTTP."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from framegate.core import audit
from framegate.core.errors import InvalidRequest, KeyConflict, KeyNotFound
from framegate.core.keys import KeyGrants, KeySecret, Moment, StoredKey, digest_of, new_secret
from framegate.core.ports import KeyStore
from framegate.core.registry import Registry

MAX_SECRETS = 10
"""Secrets of one key that are active at once."""
MAX_GRACE = 366 * 86_400
"""Seconds for which older secrets may work on."""


class SecretInfo(Struct, frozen=True, kw_only=True):
    """When a secret was created, and from when on it is refused (None: never)."""

    created_at: Moment
    expires_at: Moment | None


class KeyInfo(KeyGrants, frozen=True, kw_only=True):
    """A key as operators see it, without its secrets.

    ``source`` is where it is defined; of keys of the config, neither the time of their creation nor their
    secrets are known. ``last_used_at`` is up to a minute late.
    """

    name: str
    source: Literal["config", "stored"]
    expired: bool
    created_at: Moment | None = None
    secrets: tuple[SecretInfo, ...] = ()
    last_used_at: Moment | None = None


class IssuedKey(KeyInfo, frozen=True, kw_only=True):
    """A key with a new secret, which is shown only now."""

    secret: str


class KeyService:
    """Create, list, rotate, expire and revoke keys.

    Keys of the config, ``configured``, are listed but can't be changed. ``dialects`` are the installed ones;
    if none is, as on a host that only runs workers, the names of dialects are not checked.
    """

    def __init__(
        self,
        store: KeyStore,
        registry: Registry,
        *,
        configured: Mapping[str, KeyGrants],
        dialects: Collection[str] = (),
    ) -> None:
        self._store = store
        self._registry = registry
        self._configured = configured
        self._dialects = dialects

    async def create(self, name: str, grants: KeyGrants) -> IssuedKey:
        """Create a key and return it with its secret.

        Raises:
            KeyConflict: There is such a key, or the config has one.
            InvalidRequest: URLs can't hold the name, a dialect is unknown, or the grants expire in the past.
            ModelNotFound: They name an unknown model.
        """
        self._refuse_configured(name)
        if name in (".", ".."):
            raise InvalidRequest(
                f"{name!r} can't be a key's name, as URLs can't hold it; choose another.", param="name"
            )
        self._check(grants)
        now, secret = _now(), new_secret()
        key = StoredKey(**_fields(grants), name=name, created_at=now, secrets=(_secret(secret, now),))
        if not await self._store.add(key):
            raise KeyConflict(
                f"There is a key {name!r} already; choose another name, or rotate or revoke that key.",
                param="name",
            )
        audit.record("key_created", name=name, scopes=[scope.value for scope in grants.scopes])
        return _issued(key, secret)

    async def list(self) -> Sequence[KeyInfo]:
        """Return all keys, those of the config first."""
        stored, uses = (await self._store.read()).keys, await self._store.last_uses()
        configured = [
            KeyInfo(
                **_fields(grants),
                name=name,
                source="config",
                expired=_is_past(grants.expires_at),
                last_used_at=_moment(uses.get(name)),
            )
            for name, grants in self._configured.items()
        ]
        by_name = sorted(stored, key=lambda key: key.name)
        return [*configured, *(_info(key, _moment(uses.get(key.name))) for key in by_name)]

    async def get(self, name: str) -> KeyInfo:
        """Return one key.

        Raises:
            KeyNotFound: There is none.
        """
        for info in await self.list():
            if info.name == name:
                return info
        raise _missing(name)

    async def rotate(self, name: str, *, grace: float = 0.0) -> IssuedKey:
        """Give a key a new secret and return it; the older ones work for ``grace`` more seconds.

        Raises:
            KeyNotFound, KeyConflict: There is none, or it is the config's.
            InvalidRequest: The key has too many active secrets, or the grace is longer than `MAX_GRACE`.
        """
        if grace > MAX_GRACE:
            raise InvalidRequest(
                f"A grace of {grace:,.0f} s is too long; at most {MAX_GRACE // 86_400} days are accepted.",
                param="grace",
            )
        now, secret = _now(), new_secret()
        key = await self._change(name, lambda key: _rotated(key, _secret(secret, now), grace))
        audit.record("key_rotated", name=name, grace=grace)
        return _issued(key, secret)

    async def expire(self, name: str, at: datetime | None) -> KeyInfo:
        """Let a key be refused from ``at`` on, which may be past; None lets it never expire.

        Raises:
            KeyNotFound, KeyConflict: There is none, or it is the config's.
        """
        key = await self._change(name, lambda key: replace(key, expires_at=at))
        audit.record("key_expiry_set", name=name, at=at.isoformat() if at else None)
        return _info(key)

    async def revoke(self, name: str) -> None:
        """Remove a key. Its jobs stay until retention removes them.

        Raises:
            KeyNotFound, KeyConflict: There is none, or it is the config's.
        """
        self._refuse_configured(name)
        if not await self._store.delete(name):
            raise _missing(name)
        audit.record("key_revoked", name=name)

    async def _change(self, name: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey:
        self._refuse_configured(name)
        key = await self._store.update(name, change)
        if key is None:
            raise _missing(name)
        return key

    def _refuse_configured(self, name: str) -> None:
        if name in self._configured:
            raise KeyConflict(
                f"The key {name!r} is one of the config ([[auth.keys]]); change it there, or choose another "
                "name.",
                param="name",
            )

    def _check(self, grants: KeyGrants) -> None:
        for model in grants.models:
            self._registry.resolve(model)
        for dialect in grants.dialects if self._dialects else ():
            if dialect not in self._dialects:
                raise InvalidRequest(
                    f"There is no dialect {dialect!r}; available: {', '.join(sorted(self._dialects))}.",
                    param="dialects",
                )
        if _is_past(grants.expires_at):
            raise InvalidRequest(
                f"The key would have expired at {grants.expires_at}; choose a time in the future.",
                param="expires_at",
            )


def _rotated(key: StoredKey, secret: KeySecret, grace: float) -> StoredKey:
    now = secret.created_at
    end = now + timedelta(seconds=grace)
    kept = [
        replace(old, expires_at=min(old.expires_at or end, end))
        for old in key.secrets
        if grace > 0 and not _is_past(old.expires_at)
    ]
    if len(kept) >= MAX_SECRETS:
        raise InvalidRequest(
            f"The key {key.name!r} has {len(kept)} active secrets, and may have {MAX_SECRETS}; rotate it "
            "without a grace to end them."
        )
    return replace(key, secrets=(*kept, secret))


def _secret(secret: str, now: datetime) -> KeySecret:
    return KeySecret(sha256=digest_of(secret).hex(), created_at=now)


def _fields(grants: KeyGrants) -> dict[str, Any]:
    fields = {name: getattr(grants, name) for name in KeyGrants.__struct_fields__}
    return {**fields, "timeout": float(grants.timeout)}  # a duration in the config, which JSON lacks


def _info(key: StoredKey, last_used_at: datetime | None = None) -> KeyInfo:
    active = [secret for secret in key.secrets if not _is_past(secret.expires_at)]
    return KeyInfo(
        **_fields(key),
        name=key.name,
        source="stored",
        expired=_is_past(key.expires_at),
        created_at=key.created_at,
        secrets=tuple(SecretInfo(created_at=s.created_at, expires_at=s.expires_at) for s in active),
        last_used_at=last_used_at,
    )


def _issued(key: StoredKey, secret: str) -> IssuedKey:
    info = _info(key)
    return IssuedKey(**{name: getattr(info, name) for name in KeyInfo.__struct_fields__}, secret=secret)


def _missing(name: str) -> KeyNotFound:
    return KeyNotFound(f"There is no key {name[:100]!r}.")


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(round(seconds), UTC)


def _is_past(moment: datetime | None) -> bool:
    return moment is not None and moment <= datetime.now(UTC)
