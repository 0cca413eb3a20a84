"""Characters in Valkey."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from framegate.core.characters import Character
from framegate.core.errors import Unavailable
from framegate.core.types import MediaKind, MediaRef
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.connections import connect_async
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.retention import Retention

Result = TypeVar("Result")


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


def with_store(url: str, use: Callable[[ValkeyCharacterStore], Awaitable[Result]]) -> Result:
    async def run() -> Result:
        store = ValkeyCharacterStore(connect_async(url))
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def test_characters_are_kept_listed_and_removed(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    ann, bob, cid = (
        make_character(name, owner, age=age)
        for name, owner, age in (("ann001", "alice", 3), ("bob002", "bob", 2), ("cid003", "alice", 1))
    )

    async def use(store: ValkeyCharacterStore) -> None:
        for character in (ann, bob, cid):
            assert await store.add(character)
        assert await store.get("ann001") == ann
        assert await store.get("nobody") is None
        assert await store.list(owner=None) == [cid, bob, ann]
        assert await store.list(owner="alice") == [cid, ann]
        await store.delete("ann001")
        await store.delete("ann001")
        assert await store.get("ann001") is None
        assert await store.list(owner=None) == [cid, bob]
        for name in ("bob002", "cid003"):
            await store.delete(name)

    with_store(valkey.url, use)
    assert client.keys("fg:*") == []


def test_a_username_is_given_once(valkey: EmbeddedValkey, client: redis.Redis) -> None:
    async def use(store: ValkeyCharacterStore) -> list[bool]:
        rivals = [make_character("ann001", f"key-{number}") for number in range(40)]
        taken = await asyncio.gather(*(store.add(rival) for rival in rivals))
        kept = await store.get("ann001")
        assert kept == rivals[taken.index(True)]
        assert await store.add(rivals[taken.index(True)]), "said twice because the first answer was lost"
        assert len(await store.list(owner=None)) == 1
        return taken

    assert sum(with_store(valkey.url, use)) == 1


def test_characters_survive_a_restart(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "data")
    valkey.start()
    ann = make_character("ann001")
    try:
        assert with_store(valkey.url, lambda store: store.add(ann))
        valkey.stop()
        with pytest.raises(Unavailable):
            with_store(valkey.url, lambda store: store.get("ann001"))
        valkey.start()
        assert with_store(valkey.url, lambda store: store.get("ann001")) == ann
    finally:
        valkey.stop()


def test_retention_removes_temporary_characters_that_nobody_did(
    valkey: EmbeddedValkey, client: redis.Redis, data_dir: Path
) -> None:
    artifacts = FolderStore(data_dir)
    kept, fresh, old = (
        make_character("kept001", age=99999),
        make_character("fresh002", temporary=True),
        make_character("old003", age=120, temporary=True),
    )

    async def use(characters: ValkeyCharacterStore) -> list[str]:
        for character in (kept, fresh, old):
            await characters.add(character)
            for key in character.files:
                path = artifacts.workdir("x") / "picture"
                path.touch()
                artifacts.put(path, key)
        jobs = ValkeyJobStore(connect_async(valkey.url))
        await Retention(jobs, characters, artifacts, files_for=60, records_for=60).sweep()
        await jobs.close()
        return [character.username for character in await characters.list(owner=None)]

    assert with_store(valkey.url, use) == ["fresh002", "kept001"]
    assert [artifacts.path(key) for key in old.files] == [None, None]
    assert all(artifacts.path(key) for key in (*kept.files, *fresh.files))
