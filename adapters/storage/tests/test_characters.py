"""Characters in Valkey."""

import asyncio
import time
from pathlib import Path

import pytest
import redis
import structlog

from framegate.core.characters import Character
from framegate.core.errors import Unavailable
from framegate.core.types import MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.retention import Retention


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
    await characters.delete("ann001")
    await characters.delete("ann001")
    assert await characters.get("ann001") is None
    assert await characters.list(owner=None) == [cid, bob]
    for name in ("bob002", "cid003"):
        await characters.delete(name)
    assert client.keys("fg:*") == []


async def test_a_username_is_given_once(characters: ValkeyCharacterStore) -> None:
    rivals = [make_character("ann001", f"key-{number}") for number in range(40)]
    taken = await asyncio.gather(*(characters.add(rival) for rival in rivals))
    assert sum(taken) == 1
    winner = rivals[taken.index(True)]
    assert await characters.get("ann001") == winner
    assert await characters.add(winner), "said twice because the first answer was lost"
    assert len(await characters.list(owner=None)) == 1


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
    store: ValkeyJobStore, characters: ValkeyCharacterStore, artifacts: FolderStore
) -> None:
    kept, fresh, old = (
        make_character("kept001", age=99999),
        make_character("fresh002", temporary=True),
        make_character("old003", age=120, temporary=True),
    )
    for character in (kept, fresh, old):
        await characters.add(character)
        for key in character.files:
            path = artifacts.workdir("x") / "picture"
            path.touch()
            artifacts.put(path, key)
    with structlog.testing.capture_logs() as logs:
        await Retention(store, characters, artifacts, files_for=60, records_for=60).remove_expired()
    [line] = logs
    assert (line["event"], line["actor"], line["character"]) == ("character_deleted", "retention", "old003")
    assert [character.username for character in await characters.list(owner=None)] == ["fresh002", "kept001"]
    assert [artifacts.path(key) for key in old.files] == [None, None]
    assert all(artifacts.path(key) for key in (*kept.files, *fresh.files))
