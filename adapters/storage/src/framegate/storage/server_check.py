"""The check of a Valkey before it is used: can it run the scripts, for this user, and will it keep jobs?

Once jobs run it would be too late: a script that ends half-way leaves its half of a change.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import redis
from msgspec import Struct
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
)
from redis.sentinel import SentinelConnectionPool

from framegate.core.errors import ConfigError
from framegate.storage import scripts
from framegate.storage.connections import REFUSED_LOGIN, REFUSED_LOGINS, is_transient
from framegate.storage.endpoints import QUEUE_URL

CALLED_DIRECTLY = (
    "BLPOP",
    "DEL",
    "EVALSHA",
    "EXEC",
    "EXISTS",
    "GET",
    "HDEL",
    "HGET",
    "HGETALL",
    "HMGET",
    "HSET",
    "HVALS",
    "LPUSH",
    "MGET",
    "MULTI",
    "PING",
    "PUBSUB|NUMSUB",
    "RPUSH",
    "SCARD",
    "SCRIPT|LOAD",
    "SET",
    "SMEMBERS",
    "SREM",
    "SUBSCRIBE",
    "TIME",
    "UNSUBSCRIBE",
    "UNWATCH",
    "WATCH",
    "ZCARD",
    "ZINTER",
    "ZRANGE",
    "ZSCAN",
    "ZSCORE",
)
"""The commands that are called without a script."""

_OLDEST = (7, 0)
_CLUSTER = (
    "this server runs in cluster mode. Framegate's scripts change keys of many hash slots, so "
    "it needs a Valkey or Redis without cluster mode; Sentinel keeps one available (docs/valkey.md)."
)
_NO_INFO = (
    "whether the server evicts keys is unknown, as the user may not call INFO: add +info to its ACL rule, "
    "and see to it that maxmemory-policy is noeviction"
)
_CROSS_SLOT = re.compile(r"CROSSSLOT|hash to the same slot|non local key|same slot", re.IGNORECASE)
_REFUSED_TLS = re.compile(r"\[SSL: \w*(CERTIFICATE|ALERT|WRONG_VERSION|NO_SHARED)\w*\]")
_CALLS = re.compile(r"redis\.p?call\('([A-Z]+)'")


class ServerInfo(Struct, frozen=True):
    """What a usable server is: ``name`` is "Valkey 9.1.2"; ``warnings`` are for its operator."""

    name: str
    warnings: tuple[str, ...] = ()


def check_server(client: redis.Redis, prefix: str) -> ServerInfo:
    """Try what Framegate does with the server, on names below ``prefix``.

    Raises:
        ConfigError: It can never be used as it is set up, or would lose jobs.
        redis.RedisError: It can't be reached, or takes no writes now; the check may be repeated.
    """
    try:
        found = _read_info(client)
        if found is not None:
            _require_single_primary(found, by_sentinels=_knows_sentinels(client))
        _require_commands(client, prefix)
        _require_channel(client, prefix)
    except redis.RedisError as error:
        if (reason := _permanent_reason(error, prefix)) is not None:
            raise ConfigError(reason, key=QUEUE_URL) from None
        raise
    if found is None:
        return ServerInfo("a server that doesn't say what it is", (_NO_INFO,))
    return ServerInfo(_name_of(found), tuple(_warnings(found)))


def acl_rule(prefix: str) -> str:
    """Return the ACL rule that is enough for API hosts and workers, without a password."""
    return f"~{prefix}* &{prefix}* +@all -@admin -@dangerous +info"


def _read_info(client: redis.Redis) -> Mapping[str, Any] | None:
    try:
        return cast("Mapping[str, Any]", client.info())
    except NoPermissionError:
        return None


def _knows_sentinels(client: redis.Redis) -> bool:
    return isinstance(client.connection_pool, SentinelConnectionPool)


def _require_single_primary(found: Mapping[str, Any], *, by_sentinels: bool) -> None:
    if found.get("redis_mode") == "cluster" or str(found.get("cluster_enabled")) == "1":
        raise ConfigError(_CLUSTER, key=QUEUE_URL)
    if found.get("redis_mode") == "sentinel":
        raise ConfigError(
            "this is a Sentinel, which keeps no jobs. Write "
            "sentinel://host:26379,host:26379/name-of-the-primary/0.",
            key=QUEUE_URL,
        )
    if found.get("role") == "slave" and not by_sentinels:
        raise ConfigError(
            "this server is a replica, which takes no writes. Name its primary, or let "
            "Sentinels name it: sentinel://host:26379,host:26379/name-of-the-primary/0.",
            key=QUEUE_URL,
        )
    policy = str(found.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction" and int(found.get("maxmemory", 0)) > 0:
        raise ConfigError(
            f"the server's maxmemory-policy is {policy}: once its memory is full, it throws "
            "away jobs that were accepted. Set it to noeviction (CONFIG SET maxmemory-policy noeviction, "
            "and in its config).",
            key=QUEUE_URL,
        )


def _require_commands(client: redis.Redis, prefix: str) -> None:
    probe = client.register_script(scripts.PROBE)
    denied = cast("Sequence[str]", probe(keys=[prefix], args=needed_commands()))
    if denied:
        raise ConfigError(_denied(denied, prefix), key=QUEUE_URL)


def _require_channel(client: redis.Redis, prefix: str) -> None:
    with client.pubsub() as subscription:  # type: ignore[no-untyped-call]  # untyped in redis-py
        subscription.subscribe(f"{prefix}probe")
        if subscription.get_message(timeout=2.0) is None:
            raise redis.TimeoutError("The server has not confirmed a subscription.")


def needed_commands() -> list[str]:
    """Return the commands that are called, by scripts or directly."""
    by_scripts = {name for text in scripts.ALL for name in _CALLS.findall(text)}
    with_subcommands = {name.partition("|")[0] for name in CALLED_DIRECTLY if "|" in name}
    return sorted({*CALLED_DIRECTLY, *(by_scripts - with_subcommands)})


def _permanent_reason(error: redis.RedisError, prefix: str) -> str | None:
    """Return what to tell the operator if the same call can never work, None if it may work later."""
    text = str(error).rstrip(".")
    if isinstance(error, MasterDownError):  # to redis-py a kind of ClusterDownError
        return None
    if isinstance(error, ClusterDownError | MovedError) or _CROSS_SLOT.search(text):
        return _CLUSTER
    if isinstance(error, NoPermissionError):
        return _denied([text], prefix)
    if _REFUSED_TLS.search(text):
        return (
            f"no TLS connection to the server: {text}. The options of the URL are described in "
            "docs/valkey.md."
        )
    if isinstance(error, REFUSED_LOGINS):
        return f"{REFUSED_LOGIN} ({text})."
    if is_transient(error):
        return None
    if "unknown command" in text.lower():
        return (
            f"the server rejected the connection: {text}. Framegate needs the scripts (EVALSHA) "
            "of Valkey, or of Redis 7 and later."
        )
    return f"the server rejected the connection: {text}."


def _denied(what: Sequence[str], prefix: str) -> str:
    return (
        "the server denies its user what Framegate needs with keys and channels that begin with "
        f"{prefix!r}: {', '.join(what)}. A rule that is enough (ACL SETUSER, or the server's ACL file): "
        f"user NAME on >PASSWORD {acl_rule(prefix)}"
    )


def _name_of(found: Mapping[str, Any]) -> str:
    if found.get("server_name") == "valkey" or "valkey_version" in found:
        return f"Valkey {found.get('valkey_version', found.get('redis_version'))}"
    return f"Redis {found.get('redis_version')}"


def _warnings(found: Mapping[str, Any]) -> list[str]:
    warnings: list[str] = []
    policy = str(found.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        warnings.append(
            f"maxmemory-policy is {policy}: with a limit on its memory (maxmemory) the server would throw "
            "away jobs; set it to noeviction"
        )
    version = tuple(int(part) for part in re.findall(r"\d+", str(found.get("redis_version", "")))[:2])
    if version and version < _OLDEST:
        warnings.append(
            f"{_name_of(found)} is older than what Framegate is tested with, Redis 7 and Valkey 8"
        )
    if str(found.get("aof_enabled", "1")) == "0":
        warnings.append(
            "the server keeps no append-only file: a restart loses every job since its last snapshot; set "
            "appendonly yes and appendfsync always"
        )
    return warnings
