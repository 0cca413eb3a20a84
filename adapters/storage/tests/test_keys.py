"""API keys in Valkey."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime

import msgspec
import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import Unavailable, UnreadableRecord
from framegate.core.keys import KeyScope, KeySecret, StoredKey
from framegate.storage import keys as module
from framegate.storage import scripts
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.keys import ValkeyKeyStore
from framegate.storage.schema import SCHEMA, NewerRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def keys(valkey: EmbeddedValkey, client: redis.Redis) -> AsyncIterator[ValkeyKeyStore]:
    found = ValkeyKeyStore(connect_async(valkey.url))
    yield found
    await found.close()


def make_key(name: str, *digests: str) -> StoredKey:
    return StoredKey(
        name=name,
        scopes=(KeyScope.READ,),
        models=("small",),
        expires_at=NOW,
        created_at=NOW,
        secrets=tuple(KeySecret(sha256=digest * 64, created_at=NOW) for digest in digests or ("0",)),
    )


async def test_keys_are_kept_changed_and_removed(keys: ValkeyKeyStore, client: redis.Redis) -> None:
    assert (await keys.version(), (await keys.read()).version) == (0, 0)
    alice, bob = make_key("alice", "a", "b"), make_key("bob", "c")
    assert await keys.add(alice)
    assert await keys.add(bob)
    assert not await keys.add(make_key("alice", "d")), "the name is taken"
    stored = await keys.read()
    assert {key.name: key for key in stored.keys} == {"alice": alice, "bob": bob}
    assert stored.version == await keys.version() > 0
    changed = await keys.update("alice", lambda key: replace(key, plan="pro"))
    assert changed == replace(alice, plan="pro")
    assert changed in (await keys.read()).keys
    assert await keys.update("nobody", lambda key: key) is None
    assert await keys.delete("alice")
    assert not await keys.delete("alice")
    assert [key.name for key in (await keys.read()).keys] == ["bob"]
    await keys.delete("bob")
    assert (await keys.read()).keys == ()
    assert await keys.version() > stored.version, "it stays known that there was a key"


async def test_changes_at_once_are_all_made(keys: ValkeyKeyStore) -> None:
    assert sorted(await asyncio.gather(*(keys.add(make_key("alice", f"{n:x}")) for n in range(16))))[-2:] == [
        False,
        True,
    ]

    def adding(number: int) -> Callable[[StoredKey], StoredKey]:
        secret = KeySecret(sha256=f"{number:064x}", created_at=NOW)
        return lambda key: replace(key, secrets=(*key.secrets, secret))

    await asyncio.gather(*(keys.update("alice", adding(number)) for number in range(20)))
    [alice] = (await keys.read()).keys
    assert {int(secret.sha256, 16) for secret in alice.secrets[1:]} == set(range(20))
    assert len(alice.secrets) == 21


async def test_a_repeated_change_counts_once(keys: ValkeyKeyStore, client: redis.Redis) -> None:
    """The client library repeats a call whose reply was lost."""
    await keys.add(make_key("alice"))
    text = str(client.hget("fg:keys", "alice"))
    script = client.register_script(scripts.CHANGE_KEY)
    versions = [await keys.version()]
    for before, after in ((text, "{}"), ("{}", ""), ("", text)):
        for _ in range(2):
            assert script(keys=["fg:"], args=["alice", before, after]) == 1
            versions.append(await keys.version())
    assert script(keys=["fg:"], args=["alice", "other", "{}"]) == 0
    assert await keys.version() == versions[-1]
    assert versions[1::2] == versions[2::2] == sorted(set(versions[1:]))
    assert versions[0] < versions[1]


async def test_no_version_is_used_again(keys: ValkeyKeyStore, client: redis.Redis) -> None:
    """After a restart with older data, too: the ring would take other keys for those that it knows."""
    await keys.add(make_key("alice"))
    version = await keys.version()
    text = str(client.hget("fg:keys", "alice"))
    await keys.delete("alice")
    revoked = await keys.version()
    client.set("fg:keys:version", version)
    client.hset("fg:keys", "alice", text)
    await asyncio.sleep(0.002)  # the time that a restart takes at least
    await keys.add(make_key("bob"))
    assert await keys.version() > revoked


async def test_changes_are_announced(keys: ValkeyKeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REREAD_SECONDS", 3600.0)
    async with aclosing(keys.changes()) as changes, asyncio.timeout(60):
        await anext(changes)
        for change in (
            keys.add(make_key("alice")),
            keys.update("alice", lambda key: replace(key, plan="pro")),
            keys.delete("alice"),
        ):
            await change
            await anext(changes)


async def test_there_are_ticks_without_an_announcement(
    keys: ValkeyKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REREAD_SECONDS", 0.01)
    async with aclosing(keys.changes()) as changes, asyncio.timeout(60):
        for _ in range(3):
            await anext(changes)


async def test_a_lost_connection_is_made_again(
    keys: ValkeyKeyStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REREAD_SECONDS", 3600.0)
    async with aclosing(keys.changes()) as changes, asyncio.timeout(60):
        await anext(changes)
        client.client_kill_filter(_type="pubsub")
        await anext(changes)  # it was lost, or is there again
        await keys.add(make_key("alice"))
        await anext(changes)
        assert len((await keys.read()).keys) == 1


async def test_when_keys_were_used(keys: ValkeyKeyStore) -> None:
    assert await keys.last_uses() == {}
    await keys.add(make_key("alice"))
    await keys.note_uses({"alice": 1.5, "root": 2.0})
    await keys.note_uses({})
    assert await keys.last_uses() == {"alice": 1.5, "root": 2.0}
    await keys.delete("alice")
    assert await keys.last_uses() == {"root": 2.0}, "a later key of this name is another one"


async def test_a_later_version_s_key_is_refused_and_left_alone(
    keys: ValkeyKeyStore, client: redis.Redis
) -> None:
    await keys.add(make_key("alice"))
    await keys.add(make_key("bob"))
    record = msgspec.json.decode(str(client.hget("fg:keys", "alice")))
    newer = msgspec.json.encode({**record, "schema": SCHEMA + 1}).decode()
    client.hset("fg:keys", "alice", newer)
    assert [key.name for key in (await keys.read()).keys] == ["bob"]
    with pytest.raises(NewerRecord):
        await keys.update("alice", lambda key: key)
    assert client.hget("fg:keys", "alice") == newer


@pytest.mark.parametrize("damage", ["not JSON", "{}", '"sha256":"zz"', '"scopes":["other"]'])
async def test_a_damaged_key_is_refused_and_can_be_revoked(
    keys: ValkeyKeyStore, client: redis.Redis, damage: str
) -> None:
    await keys.add(make_key("alice"))
    await keys.add(make_key("bob"))
    sound = str(client.hget("fg:keys", "alice"))
    name = damage.partition(":")[0]
    damaged = re.sub(rf'{name}:(\[.*?\]|".*?")', damage, sound) if ":" in damage else damage
    assert damaged != sound
    client.hset("fg:keys", "alice", damaged)
    assert [key.name for key in (await keys.read()).keys] == ["bob"]
    with pytest.raises(UnreadableRecord, match="Revoke it"):
        await keys.update("alice", lambda key: key)
    assert await keys.delete("alice")


async def test_unknown_members_are_ignored(keys: ValkeyKeyStore, client: redis.Redis) -> None:
    await keys.add(make_key("alice"))
    record = msgspec.json.decode(str(client.hget("fg:keys", "alice")))
    client.hset("fg:keys", "alice", msgspec.json.encode({**record, "new": 1}).decode())
    assert (await keys.read()).keys == (make_key("alice"),)


async def test_outages() -> None:
    keys = ValkeyKeyStore(connect_async("redis://127.0.0.1:1/0"))
    for call in (
        keys.version(),
        keys.read(),
        keys.add(make_key("a")),
        keys.delete("a"),
        keys.last_uses(),
        keys.note_uses({"a": 1.0}),
        keys.update("a", lambda key: key),
    ):
        with pytest.raises(Unavailable):
            await call
    async with aclosing(keys.changes()) as changes:
        await anext(changes)
        await anext(changes)
    await keys.close()
