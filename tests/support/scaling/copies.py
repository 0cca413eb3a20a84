"""Many finished jobs in little time: a few are made by the real scripts, and what these wrote is copied.

The copies are exact but for the id, owner, share id, place in the order of submission and time of the end.
So whatever keys and indexes the scripts know, the copies have them too, except for those that only count.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import msgspec
import redis
from msgspec import Struct

from framegate.storage.jobs.records import PREFIX
from tests.support.running import eventually

_AT_ONCE = 500
_SOURCE = Path(__file__).with_name("copies.lua")
_SAME = 0.001

Argument: TypeAlias = str | tuple[str]
"""A text, or the name of a number that each copy has: ``seq`` or ``ended``."""


class Template(Struct, frozen=True):
    """The commands that write what a job has left in Valkey, with what differs from copy to copy."""

    id: str
    owner: str
    share: str
    commands: Sequence[Sequence[Argument]]


def template_of(client: redis.Redis, job_id: str, owner: str, share: str) -> Template:
    """Return what Valkey holds of a job that has ended."""
    record = cast("dict[str, str]", client.hgetall(f"{PREFIX}job:{job_id}"))
    seq, ended = float(record["seq"]), float(record["finished_at"])

    def number(value: float | str) -> Argument:
        if float(value) == seq:
            return ("seq",)
        return ("ended",) if abs(float(value) - ended) < _SAME else str(value)

    commands: list[Sequence[Argument]] = []
    for key in sorted(cast("list[str]", client.keys(f"{PREFIX}*"))):
        whole = job_id in key
        match client.type(key):
            case "hash":
                fields = cast("dict[str, str]", client.hgetall(key))
                chosen = {name: text for name, text in fields.items() if whole or job_id in name}
                for name, text in chosen.items():
                    exact = name in ("seq", "finished_at")
                    commands.append(("HSET", key, name, number(text) if exact else text))
            case "zset":
                members = cast("list[tuple[str, float]]", client.zrange(key, 0, -1, withscores=True))
                for member, score in members:
                    if whole or job_id in member:
                        commands.append(("ZADD", key, number(score), member))
            case "set":
                found = cast("set[str]", client.smembers(key))
                commands += [("SADD", key, member) for member in found if whole or job_id in member]
            case "string":
                text = cast("str", client.get(key))
                if whole or job_id in text:
                    commands.append(("SET", key, text))
            case _:
                pass
    return Template(job_id, owner, share, commands)


@contextmanager
def without_log(client: redis.Redis) -> Generator[None]:
    """Write quickly: only afterwards does Valkey make all of it durable."""
    client.config_set("appendonly", "no")
    yield
    client.config_set("appendonly", "yes")
    eventually(lambda: _is_durable(client), seconds=600, what="an append-only file with everything")


def _is_durable(client: redis.Redis) -> bool:
    info = client.info("persistence")
    return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]


class Copier:
    """Writes copies, numbered as in the order of submission after what is there."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._script: Any = client.register_script(_SOURCE.read_text())
        self.written = int(cast("str | None", client.get(f"{PREFIX}seq")) or 0)

    def write(self, template: Template, count: int, *, owners: int, ended: float, over: float) -> range:
        """Write ``count`` copies for so many owners, and return their numbers.

        They ended at even distances within the ``over`` seconds that follow ``ended``.
        """
        first, step = self.written + 1, over / max(1, count)
        encoded = msgspec.json.encode(template)
        for start in range(0, count, _AT_ONCE):
            last = first + min(start + _AT_ONCE, count) - 1
            self._script(args=[encoded, first + start, last, owners, ended + step * start, step])
        self.written += count
        self._client.set(f"{PREFIX}seq", self.written)
        return range(first, first + count)


def copy_id(number: int) -> str:
    """Return the id of a copy."""
    return f"record{number:09}"


def copy_owner(number: int, owners: int) -> str:
    """Return the owner of a copy."""
    return f"owner{number % owners:06}"
