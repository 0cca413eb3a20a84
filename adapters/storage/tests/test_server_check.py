"""Servers that can't be used, or would lose jobs, are refused before anything is accepted."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import ConfigError
from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect, connect_async, connect_once
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.server_check import ServerInfo, acl_rule, check_server, needed_commands
from tests.support.external_valkey import ExternalValkey, cluster_options
from tests.support.ports import free_port
from tests.support.sample_jobs import make_job

PASSWORD = "correct-horse-battery"


@pytest.fixture
def operator(external: ExternalValkey) -> Iterator[redis.Redis]:
    with connect(external.url) as client:
        client.flushall()
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        execute(client, "REPLICAOF NO ONE")


def execute(client: redis.Redis, command: str) -> None:
    client.execute_command(command)  # type: ignore[no-untyped-call]  # untyped in redis-py


def add_user(operator: redis.Redis, external: ExternalValkey, rule: str) -> str:
    """Return the URL of a user with that rule."""
    execute(operator, f"ACL SETUSER framegate reset on >{PASSWORD} {rule}")
    return external.url.replace("redis://", f"redis://framegate:{PASSWORD}@")


def check(url: str, prefix: str = "fg:") -> ServerInfo:
    with connect_once(url) as client:
        return check_server(client, prefix)


def test_a_server_that_can_be_used(external: ExternalValkey, operator: redis.Redis) -> None:
    version = operator.info("server")["valkey_version"]
    assert check(external.url) == ServerInfo(f"Valkey {version}")
    assert operator.ttl("fg:probe") < 0  # nothing is left of the check


@pytest.mark.parametrize("prefix", ["fg:", "studio-2:"])
def test_the_rule_that_is_documented_is_enough(
    external: ExternalValkey, operator: redis.Redis, prefix: str
) -> None:
    url = add_user(operator, external, acl_rule(prefix))
    assert not check(url, prefix).warnings
    with pytest.raises(ConfigError, match="denies its user"):
        check(url, "other:")


def test_a_user_who_may_not_ask_what_the_server_is(external: ExternalValkey, operator: redis.Redis) -> None:
    [warning] = check(add_user(operator, external, f"{acl_rule('fg:')} -info")).warnings
    assert "add +info to its ACL rule" in warning


MISSING = {
    "no channel": ("~fg:* resetchannels +@all -@dangerous +info", "PUBLISH, SUBSCRIBE"),
    "other channels": ("~fg:* resetchannels &jobs:* +@all -@dangerous +info", "PUBLISH, SUBSCRIBE"),
    "other keys": ("~jobs:* &* +@all -@dangerous +info", "No permissions to access a key"),
    "no scripts": ("~fg:* &* +@all -@dangerous +info -@scripting", "evalsha"),
    "no waiting": ("~fg:* &* +@all -@dangerous +info -blpop", ": BLPOP."),
    "no writes": ("~fg:* &* +@all -@dangerous +info -@write", "ZADD"),
    "no numbers of subscribers": ("~fg:* &* +@all -@dangerous +info -pubsub", "PUBSUB|NUMSUB"),
}


@pytest.mark.parametrize("rule", MISSING)
def test_a_missing_right_is_named_and_the_rule_that_is_right(
    external: ExternalValkey, operator: redis.Redis, rule: str
) -> None:
    given, missing = MISSING[rule]
    with pytest.raises(ConfigError) as raised:
        check(add_user(operator, external, given))
    message = raised.value.message
    assert message.startswith("queue.url: the server denies its user what Framegate needs with ")
    assert missing in message
    assert acl_rule("fg:") in message
    assert PASSWORD not in message


def test_a_wrong_password(external: ExternalValkey, operator: redis.Redis) -> None:
    url = add_user(operator, external, acl_rule("fg:")).replace(PASSWORD, "wrong-horse-battery")
    with pytest.raises(ConfigError, match="invalid username-password pair or user is disabled") as raised:
        check(url)
    assert "horse" not in raised.value.message


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_would_throw_jobs_away(
    external: ExternalValkey, operator: redis.Redis, policy: str
) -> None:
    operator.config_set("maxmemory-policy", policy)
    [warning] = check(external.url).warnings
    assert f"maxmemory-policy is {policy}" in warning
    operator.config_set("maxmemory", 2**30)
    with pytest.raises(ConfigError, match=f"maxmemory-policy is {policy}: .* Set it to noeviction"):
        check(external.url)


def test_a_server_without_a_file(external: ExternalValkey, operator: redis.Redis) -> None:
    operator.config_set("appendonly", "no")
    [warning] = check(external.url).warnings
    operator.config_set("appendonly", "yes")
    assert "appendonly yes" in warning


def test_a_replica(external: ExternalValkey, operator: redis.Redis) -> None:
    execute(operator, f"REPLICAOF 127.0.0.1 {free_port()}")
    with pytest.raises(ConfigError, match=r"is a replica, which takes no writes\. Name its primary"):
        check(external.url)


def test_cluster_mode(tmp_path: Path) -> None:
    node = ExternalValkey(tmp_path / "node", options=cluster_options())
    try:
        with pytest.raises(ConfigError, match=r"cluster mode.*without cluster mode; Sentinel"):
            check(node.url)
    finally:
        node.kill()


def test_every_command_of_the_scripts_is_checked() -> None:
    assert {"PUBLISH", "ZADD", "HSET", "BLPOP", "TIME", "SET"} <= set(needed_commands())
    assert all(re.fullmatch(r"[A-Z|]+", command) for command in needed_commands())


async def test_the_commands_that_are_checked_are_enough(
    external: ExternalValkey, operator: redis.Redis
) -> None:
    """Those that are called without a script too: a user who may call no others can read lists and files."""
    allowed = " ".join(f"+{command.lower()}" for command in needed_commands())
    store = ValkeyJobStore(connect_async(add_user(operator, external, f"~fg:* &fg:* {allowed}")))
    await store.submit(make_job("waits", owner="alice", collection="videos"), limits=Limits())
    for states in ((), (JobState.QUEUED,), tuple(JobState)):
        assert [job.id for job in await store.list(owner="alice", states=states, limit=10)] == ["waits"]
    page = await store.page("videos", owner="alice", after="waits", limit=10, newest_first=True)
    assert page is not None
    assert [files.id async for part in store.stored_files.pages() for files in part] == ["waits"]
    async with store.stored_files.searching() as turn:
        assert turn is not None
        await turn.prolong()
    assert not await store.stored_files.searched_lately()
    listening = asyncio.Event()
    store.follow(lambda _: listening.set())
    async with asyncio.timeout(60):
        await listening.wait()
    assert await store.refresh({"waits": None}) == {"waits": await store.get("waits")}
    await store.close()


async def test_a_job_ends_as_a_whole_although_nobody_may_be_told(
    external: ExternalValkey, operator: redis.Redis
) -> None:
    """As when the right to publish is taken away while jobs run: what a script changes, it changes whole."""
    url = add_user(operator, external, acl_rule("fg:"))
    store = ValkeyJobStore(connect_async(url))
    with connect(url) as client:
        worker = WorkerStore(client, "w")
        for name in ("ends", "stays", "goes"):
            job = replace(make_job(name), webhooks=("https://hooks.example.com/",))
            await store.submit(job, limits=Limits())
        execute(operator, "ACL SETUSER framegate resetchannels")
        running = worker.claim("q-test", ["test"])
        assert running is not None
        assert worker.succeed(running, ()) == JobState.SUCCEEDED
        requeued = worker.claim("q-test", ["test"])
        assert requeued is not None
        assert worker.requeue(requeued.id, requeued.attempt) == JobState.QUEUED
        assert await store.cancel("goes")
    assert operator.zcard("fg:deliveries") == 1
    counts = await store.counts()
    assert (counts.queued, counts.running, counts.succeeded, counts.cancelled) == (1, 0, 1, 1)
    await store.close()
