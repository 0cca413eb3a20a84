"""Checks of keys that a look at one of them alone doesn't allow."""

from collections.abc import Collection

import structlog

from framegate.core.errors import ConfigError, Unavailable
from framegate.core.settings import KeyConfig, Settings
from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import is_loopback_host

log = structlog.get_logger(__name__)

MIN_SECRET = 16
"""Characters of a key; a shorter one may be guessed."""
_HINT = "Add a key under [[auth.keys]] or with `framegate keys create NAME`, or set the host to 127.0.0.1."


def check_keys(settings: Settings, *, dialects: Collection[str], models: Collection[str]) -> None:
    """Check that keys are long enough to be safe, and that the names in their lists exist.

    On loopback a short key is only a warning in the log, and so is an unknown model anywhere: a plugin may
    offer it later.

    Raises:
        ConfigError: The server listens elsewhere and a key is shorter than `MIN_SECRET` (those given as
            SHA-256 can't be measured), or a key's list has an unknown dialect.
    """
    for config in settings.auth.keys:
        _check_length(config, settings.server.host)
        for dialect in config.dialects:
            if dialect not in dialects:
                raise ConfigError(
                    f"auth.keys {config.name!r}: unknown dialect {dialect!r}; available: "
                    f"{', '.join(sorted(dialects))}."
                )
        if unknown := [model for model in config.models if model not in models]:
            log.warning("key_names_unknown_models", name=config.name, models=unknown)


def _check_length(config: KeyConfig, host: str) -> None:
    shortest = min(map(len, config.secrets()), default=MIN_SECRET)
    if shortest >= MIN_SECRET:
        return
    reason = f"the key has {shortest} characters and may be guessed; use at least {MIN_SECRET} random ones"
    if not is_loopback_host(host):
        raise ConfigError(
            f"auth.keys {config.name!r}: {reason}, such as `openssl rand -hex 24` prints. Shorter keys are "
            f"accepted on loopback only, not on {host}."
        )
    log.warning("short_api_key", name=config.name, reason=reason)


async def require_keys(keys: KeyRing, host: str) -> None:
    """Read the stored keys, and refuse to serve other machines without any.

    Raises:
        ConfigError: ``host`` is not on loopback, and there are no keys.
        Unavailable: The same, as far as is known: the stored ones can't be read.
    """
    try:
        await keys.load()
    except Unavailable as error:
        if not keys.keyed and not is_loopback_host(host):
            raise Unavailable(
                f"server.host: without keys this server answers on loopback only, not on {host}, and the "
                f"stored ones can't be read. {error.message} {_HINT}"
            ) from None
    if not keys.keyed and not is_loopback_host(host):
        raise _no_keys(host)


def require_keys_left(keys: KeyRing, settings: Settings) -> None:
    """Refuse to go on serving other machines with ``settings`` that have the last keys removed.

    Raises:
        ConfigError: The server is not on loopback, and as far as is known there would be no keys.
    """
    host = settings.server.host
    if not settings.auth.keys and not keys.has_stored and not is_loopback_host(host):
        raise _no_keys(host)


def _no_keys(host: str) -> ConfigError:
    return ConfigError(
        f"server.host: without keys this server answers on loopback only, not on {host}. {_HINT}"
    )
