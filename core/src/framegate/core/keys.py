"""API keys: what each may do, and the secrets of those that operators create at run time."""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import replace

KeyName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._-]{1,64}\Z", description="a name of up to 64 letters, digits and any of . _ -"
    ),
]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Limit: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]  # all that Lua counts exactly
"""0 means no limit."""
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=2**31)]
_Names: TypeAlias = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=500)
]

KEY_PREFIX = "fg_"  # what secrets begin with, so that scanners of code recognise them
_SECRET_BYTES = 32


class KeyScope(StrEnum):
    """A kind of request that a key may make.

    ``submit`` covers everything that makes, cancels or deletes something, ``read`` everything that shows the
    key's own jobs, files, characters and models, and ``admin`` the server's own administration.
    """

    SUBMIT = "submit"
    READ = "read"
    ADMIN = "admin"


class KeyGrants(Struct, frozen=True, kw_only=True):
    """What a key may do, wherever it is defined: in the config or in Valkey.

    Attributes:
        plan: The plan that some model names need.
        max_running: How many of its jobs run at once; 0 for any number, as for the other limits.
        max_queued: How many of its jobs wait; None, here and below, for the server's default.
        max_active: How many of its jobs wait or run.
        priority: Jobs of keys with a higher one are served first.
        scopes: The kinds of requests that it may make.
        dialects: The dialects that it may call; empty for all.
        models: The names of models and aliases, as clients write them, that it may use; empty for all.
        expires_at: From when on it is refused; None for never.
        requests_per_minute: How many requests it sends in any minute.
        request_burst: How many of these within one second.
        max_bytes_in_flight: The bytes of its unfinished requests.
        max_stored_bytes: The bytes of its jobs' files and its characters' images.
        max_record_bytes: The bytes of its jobs' records.
        max_characters: How many characters it keeps.
        daily_gpu_seconds: For how long its jobs run on a day, in UTC.
        timeout: How many seconds one of its jobs may run; 0 for what the model allows.
    """

    plan: Annotated[str, Meta(max_length=200)] = ""
    max_running: Limit = 0
    max_queued: Limit | None = None
    max_active: Limit = 0
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31)] = 0
    scopes: Annotated[tuple[KeyScope, ...], Meta(min_length=1)] = (KeyScope.SUBMIT, KeyScope.READ)
    dialects: _Names = ()
    models: _Names = ()
    expires_at: Moment | None = None
    requests_per_minute: Limit | None = None
    request_burst: Limit | None = None
    max_bytes_in_flight: Limit | None = None
    max_stored_bytes: Limit | None = None
    max_record_bytes: Limit | None = None
    max_characters: Limit | None = None
    daily_gpu_seconds: Limit | None = None
    timeout: Seconds = 0.0

    def with_defaults(self, defaults: Mapping[str, int]) -> Self:
        """Return the grants with these limits in place of those that are None."""
        return replace(
            self, **{name: limit for name, limit in defaults.items() if getattr(self, name) is None}
        )


class KeySecret(Struct, frozen=True, kw_only=True):
    """The SHA-256 of a secret. It is random, so its digest can be neither reversed nor guessed."""

    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    created_at: Moment
    expires_at: Moment | None = None


class StoredKey(KeyGrants, frozen=True, kw_only=True):
    """A key that was created at run time, with its active secrets, the newest last."""

    name: str
    created_at: Moment
    secrets: tuple[KeySecret, ...]


class StoredKeys(Struct, frozen=True):
    """All keys that were created at run time.

    ``version`` grows with every change, is never used again, and is 0 only if there never was one.
    """

    version: int
    keys: Sequence[StoredKey]


def new_secret() -> str:
    """Return a random secret for a key."""
    return KEY_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def digest_of(secret: str) -> bytes:
    """Return the SHA-256 of a secret."""
    return hashlib.sha256(secret.encode()).digest()
