"""Checks of keys that a look at one of them alone doesn't allow."""

import structlog

from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError, Unavailable
from framegate.core.settings import KeyConfig, Settings
from framegate.server.auth.key_ring import KeyRing
from framegate.server.auth.origins import is_loopback_host

log = structlog.get_logger(__name__)

MIN_SECRET = 16
"""Characters of a key; a shorter one may be guessed."""
_HINT = "Add a key under [[auth.keys]] or with `framegate keys create NAME`, or set the host to 127.0.0.1."


def check_keys(settings: Settings, found: ErrorCollector) -> None:
    """Check that keys are long enough to be safe; those given as SHA-256 can't be measured.

    On loopback a key shorter than `MIN_SECRET` is only a warning in the log.
    """
    for config in settings.auth.keys:
        with found.catching():
            _check_length(config, settings.server.host)


def _check_length(config: KeyConfig, host: str) -> None:
    shortest = min(map(len, config.secrets()), default=MIN_SECRET)
    if shortest >= MIN_SECRET:
        return
    reason = f"the key has {shortest} characters and may be guessed; use at least {MIN_SECRET} random ones"
    if not is_loopback_host(host):
        raise ConfigError(
            f"{reason}, such as `openssl rand -hex 24` prints. Shorter keys are accepted on loopback only, "
            f"not on {host}.",
            key=("auth", "keys", config.name),
        )
    log.warning("short_api_key", name=config.name, reason=reason)


def no_keys(host: str) -> ConfigError:
    """Return the error of a server that is to serve other machines without any key."""
    return ConfigError(
        f"without keys this server answers on loopback only, not on {host}. {_HINT}", key=("server", "host")
    )


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
                f"Without keys this server answers on loopback only, not on {host}, and the stored ones "
                f"can't be read. {error.message} {_HINT}"
            ) from None
    if not keys.keyed and not is_loopback_host(host):
        raise no_keys(host)


def require_keys_left(keys: KeyRing, settings: Settings) -> None:
    """Refuse to go on serving other machines with ``settings`` that have the last keys removed.

    Raises:
        ConfigError: The server is not on loopback, and as far as is known there would be no keys.
    """
    host = settings.server.host
    if not settings.auth.keys and not keys.has_stored and not is_loopback_host(host):
        raise no_keys(host)
