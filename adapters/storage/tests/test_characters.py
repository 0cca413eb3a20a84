"""Characters in Valkey."""

import asyncio
import time
from pathlib import Path

import pytest
import redis
import structlog
from msgspec.structs import replace

from framegate.core.characters import Character
from framegate.core.errors import QuotaReached, Unavailable
from framegate.core.ports import CharacterLimits, Limits
from framegate.core.types import MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.retention import Retention
from tests.support.sample_jobs import make_job


def make_character(
    username: str, owner: str = "alice", *, age: float = 0.0, temporary: bool = False
) -> Character:
    return Character(
        id=f"id-{username}",
        username=username,
        display_name="Ann",
        owner=owner,
        avatar=f"characters/{username}/avatar.png",
        reference=MediaRef(MediaKind.IMAGE, f"characters/{username}/reference.png", 640, 480),
        created_at=time.time() - age,
        temporary=temporary,
    )


async def test_characters_are_kept_listed_and_removed(
    characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    ann, bob, cid = (
        make_character(name, owner, age=age)
        for name, owner, age in (("ann001", "alice", 3), ("bob002", "bob", 2), ("cid003", "alice", 1))
    )
    for character in (ann, bob, cid):
        assert await characters.add(character)
    assert await characters.get("ann001") == ann
    assert await characters.get("nobody") is None
    assert await characters.list(owner=None) == [cid, bob, ann]
    assert await characters.list(owner="alice") == [cid, ann]
    await characters.delete(ann)
    await characters.delete(ann)
    assert await characters.get("ann001") is None
    assert await characters.list(owner=None) == [cid, bob]
    for character in (bob, cid):
        await characters.delete(character)
    assert client.keys("fg:*") == []


async def test_a_username_is_given_once(characters: ValkeyCharacterStore) -> None:
    rivals = [make_character("ann001", f"key-{number}") for number in range(40)]
    taken = await asyncio.gather(*(characters.add(rival) for rival in rivals))
    assert sum(taken) == 1
    winner = rivals[taken.index(True)]
    assert await characters.get("ann001") == winner
    assert await characters.add(winner), "said twice because the first answer was lost"
    assert len(await characters.list(owner=None)) == 1


async def test_no_race_exceeds_the_quota(characters: ValkeyCharacterStore) -> None:
    limits = CharacterLimits(max_characters=5)
    rivals = [make_character(f"ann{number:03}") for number in range(40)]
    taken = await asyncio.gather(*(characters.add(rival, limits) for rival in rivals), return_exceptions=True)
    assert [answer for answer in taken if not isinstance(answer, QuotaReached)] == [True] * 5
    with pytest.raises(QuotaReached, match="has 5 characters"):
        await characters.check_quota("alice", limits)
    await characters.check_quota("bob", limits)
    kept = await characters.list(owner="alice")
    assert await characters.add(kept[0], limits), "said twice because the first answer was lost"
    assert await characters.add(make_character("tmp001", temporary=True), CharacterLimits())
    for _ in range(2):
        await characters.delete(kept[0])
    assert await characters.add(make_character("new001"), limits)
    with pytest.raises(QuotaReached):
        await characters.add(make_character("new002"), limits)


async def test_pictures_count_as_stored_bytes(
    characters: ValkeyCharacterStore, store: ValkeyJobStore, client: redis.Redis
) -> None:
    def drawn(username: str) -> Character:
        made = make_character(username)
        return replace(made, avatar_size=100, reference=replace(made.reference, size=300))

    await store.submit(make_job("j1", owner="alice", input_bytes=200), limits=Limits())
    limits = CharacterLimits(max_stored=1000)
    ann, bea = drawn("ann001"), drawn("bea001")
    assert await characters.add(ann, limits)
    assert await characters.add(bea, limits)
    with pytest.raises(QuotaReached, match="stores 1,000 bytes of the 1,000 bytes that"):
        await characters.check_quota("alice", limits)
    with pytest.raises(QuotaReached):
        await store.submit(make_job("j2", owner="alice", input_bytes=1), limits=Limits(owner_max_stored=1000))
    assert client.get("fg:stored:alice") == "1000"
    await characters.delete(bea)
    assert client.get("fg:stored:alice") == "600"
    with pytest.raises(QuotaReached):
        await characters.add(drawn("cat001"), CharacterLimits(max_stored=999))
    client.delete("fg:stored:alice")
    await characters.check_quota("alice", limits)
    assert client.get("fg:stored:alice") == "600", "made of what is there"


async def test_characters_of_versions_that_did_not_count(
    characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    limits = CharacterLimits(max_characters=2)
    ann, bea, gone = (make_character(name) for name in ("ann001", "bea001", "gone01"))
    for character in (ann, bea, make_character("tmp001", temporary=True)):
        await characters.add(character)
    client.delete("fg:charactersby:alice")
    await characters.check_quota("alice", limits)
    await characters.count_uncounted()
    await characters.count_uncounted()
    with pytest.raises(QuotaReached, match="has 2 characters"):
        await characters.check_quota("alice", limits)
    client.hset("fg:charactersby:alice", mapping={gone.username: 0})
    client.delete("fg:character:bea001")
    await characters.check_quota("alice", limits)
    assert client.hkeys("fg:charactersby:alice") == ["ann001"], "two were removed without a word"


async def test_characters_survive_a_restart(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "data")
    valkey.start()
    ann = make_character("ann001")
    store = ValkeyCharacterStore(connect_async(valkey.url))
    try:
        assert await store.add(ann)
        valkey.stop()
        with pytest.raises(Unavailable):
            await store.get("ann001")
        valkey.start()
        assert await store.get("ann001") == ann
    finally:
        await store.close()
        valkey.stop()


async def test_retention_removes_temporary_characters_that_nobody_did(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis, artifacts: FolderStore
) -> None:
    kept, fresh, old = (
        make_character("kept001", age=99999),
        make_character("fresh002", temporary=True),
        make_character("old003", temporary=True),
    )
    for character in (kept, fresh, old):
        await characters.add(character)
        for key in character.files:
            path = artifacts.workdir("x") / "picture"
            path.touch()
            artifacts.put(path, key)
    client.zincrby("fg:characters:temporary", -120, old.username)
    with structlog.testing.capture_logs() as logs:
        await Retention(store, characters, artifacts, files_for=60, records_for=60).remove_expired()
    [line] = logs
    assert (line["event"], line["actor"], line["character"]) == ("character_deleted", "retention", "old003")
    assert [character.username for character in await characters.list(owner=None)] == ["fresh002", "kept001"]
    assert [artifacts.path(key) for key in old.files] == [None, None]
    assert all(artifacts.path(key) for key in (*kept.files, *fresh.files))


async def test_a_character_made_by_a_clock_of_its_own_stays_as_long_as_any(
    store: ValkeyJobStore, characters: ValkeyCharacterStore, artifacts: FolderStore
) -> None:
    await characters.add(make_character("slow001", age=7200, temporary=True))
    await Retention(store, characters, artifacts, files_for=3600, records_for=3600).remove_expired()
    assert await characters.get("slow001")


async def test_a_username_that_was_given_again_stays(
    characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    """Retention and a client remove the same character, and another gets its name before both have."""
    first, second = make_character("ann001"), replace(make_character("ann001"), id="another")
    await characters.add(first)
    await characters.delete(first)
    assert await characters.add(second)
    await characters.delete(first)
    assert await characters.get("ann001") == second
    client.set("fg:character:ann001", "{damaged")
    await characters.delete(second)
    assert client.keys("fg:*") == []


@pytest.mark.parametrize("text", ["{", "7", '{"id": 7}', b"\xff", None])
async def test_retention_removes_temporary_characters_that_nobody_can_read(
    store: ValkeyJobStore,
    characters: ValkeyCharacterStore,
    client: redis.Redis,
    artifacts: FolderStore,
    text: str | bytes | None,
) -> None:
    """Else they would be leased for ever, and no character's file would count as an orphan."""
    for name in ("ann001", "bob002", "new003"):
        await characters.add(make_character(name, temporary=True))
    if text is None:
        client.delete("fg:character:ann001")
    else:
        client.set("fg:character:ann001", text)
    client.set("fg:character:new003", '{"schema": 99, "written_by": "9.1.0"}')
    await Retention(store, characters, artifacts, files_for=60, records_for=60).remove_expired()
    assert client.zcard("fg:characters") == 3, "none is due"
    await Retention(store, characters, artifacts, files_for=-1, records_for=-1).remove_expired()
    assert client.zrange("fg:characters", 0, -1) == client.zrange("fg:characters:temporary", 0, -1)
    assert client.zrange("fg:characters", 0, -1) == ["new003"], "a later version's is left to it"
    assert client.exists("fg:character:ann001") == 0


@pytest.mark.parametrize("text", ["{", "7", "null"])
async def test_a_character_that_was_damaged_since_it_was_read_can_be_removed(
    characters: ValkeyCharacterStore, client: redis.Redis, text: str
) -> None:
    ann = make_character("ann001")
    await characters.add(ann)
    client.set("fg:character:ann001", text)
    await characters.delete(ann)
    assert client.keys("fg:*") == []


@pytest.mark.parametrize("text", ["{", "7", '{"id": 7}', b"\xff"])
async def test_a_damaged_character_is_none(
    characters: ValkeyCharacterStore, client: redis.Redis, text: str | bytes
) -> None:
    """A prompt that mentions it is taken as it is, and whoever asks for it learns that there is none."""
    for name in ("ann001", "bob002"):
        await characters.add(make_character(name))
    client.set("fg:character:ann001", text)
    assert await characters.get("ann001") is None
    assert [found.username for found in await characters.list(owner=None)] == ["bob002"]
    assert not await characters.add(make_character("ann001")), "its name stays taken: its images are there"
