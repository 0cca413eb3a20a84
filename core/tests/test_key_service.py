"""Keys as operators manage them, over a store in memory."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import structlog

from framegate.core import audit
from framegate.core.errors import FramegateError, InvalidRequest, KeyConflict, KeyNotFound, ModelNotFound
from framegate.core.key_service import MAX_SECRETS, KeyService
from framegate.core.keys import KeyGrants, KeyScope
from framegate.core.registry import Registry
from framegate.core.testing import InMemoryKeyStore
from tests.support.service_stand import PREVIEW

LIMITED = KeyGrants(
    plan="pro",
    max_running=2,
    scopes=(KeyScope.READ,),
    dialects=("lightx2v",),
    models=("preview",),
    expires_at=datetime(2999, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def store() -> InMemoryKeyStore:
    return InMemoryKeyStore()


@pytest.fixture
def service(store: InMemoryKeyStore) -> KeyService:
    return KeyService(
        store,
        Registry({"preview": PREVIEW}),
        configured={"root": KeyGrants(scopes=(KeyScope.ADMIN,))},
        dialects=["lightx2v", "sora2api"],
    )


async def digests(store: InMemoryKeyStore, name: str) -> list[str]:
    [key] = [key for key in (await store.read()).keys if key.name == name]
    return [secret.sha256 for secret in key.secrets]


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def test_a_secret_is_random_and_only_its_digest_is_kept(
    service: KeyService, store: InMemoryKeyStore
) -> None:
    issued = [await service.create(f"key-{number}", KeyGrants()) for number in range(20)]
    assert len({key.secret for key in issued}) == 20
    assert all(re.fullmatch(r"fg_[A-Za-z0-9_-]{43}", key.secret) for key in issued)
    assert await digests(store, "key-3") == [sha256(issued[3].secret)]
    stored = msgspec.json.encode(await store.read()).decode()
    shown = msgspec.json.encode(await service.list()).decode()
    for key in issued:
        assert key.secret not in stored + shown
        assert sha256(key.secret) not in shown


async def test_a_key_keeps_what_it_may_do(service: KeyService) -> None:
    await service.create("alice", LIMITED)
    found = await service.get("alice")
    assert {name: getattr(found, name) for name in KeyGrants.__struct_fields__} == {
        name: getattr(LIMITED, name) for name in KeyGrants.__struct_fields__
    }
    assert (found.source, found.expired, len(found.secrets)) == ("stored", False, 1)


async def test_keys_of_the_config_are_listed_first_and_stay_as_they_are(service: KeyService) -> None:
    await service.create("zoe", KeyGrants())
    await service.create("alice", KeyGrants())
    assert [(key.name, key.source) for key in await service.list()] == [
        ("root", "config"),
        ("alice", "stored"),
        ("zoe", "stored"),
    ]
    changes: list[Callable[[], Awaitable[Any]]] = [
        lambda: service.create("root", KeyGrants()),
        lambda: service.rotate("root"),
        lambda: service.expire("root", None),
        lambda: service.revoke("root"),
    ]
    for change in changes:
        with pytest.raises(KeyConflict, match=r"'root' is one of the config \(\[\[auth.keys\]\]\)"):
            await change()


async def test_what_is_wrong_with_a_new_key(service: KeyService) -> None:
    await service.create("alice", KeyGrants())
    past = datetime.now(UTC) - timedelta(seconds=1)
    wrong: list[tuple[str, KeyGrants, type[FramegateError], str]] = [
        ("alice", KeyGrants(), KeyConflict, "'alice' already"),
        ("bob", KeyGrants(models=("preveiw",)), ModelNotFound, "Did you mean preview"),
        ("bob", KeyGrants(dialects=("sora",)), InvalidRequest, "available: lightx2v, sora2api"),
        ("bob", KeyGrants(expires_at=past), InvalidRequest, "in the future"),
    ]
    for name, grants, kind, words in wrong:
        with pytest.raises(kind, match=words):
            await service.create(name, grants)
    assert [key.name for key in await service.list()] == ["root", "alice"]


async def test_where_no_dialect_is_installed_their_names_are_not_checked(store: InMemoryKeyStore) -> None:
    service = KeyService(store, Registry({"preview": PREVIEW}), configured={})
    assert (await service.create("bob", KeyGrants(dialects=("any",)))).dialects == ("any",)


async def test_rotating_without_a_grace_ends_the_older_secrets(
    service: KeyService, store: InMemoryKeyStore
) -> None:
    await service.create("alice", KeyGrants())
    await service.rotate("alice", grace=3600)
    issued = await service.rotate("alice")
    assert await digests(store, "alice") == [sha256(issued.secret)]
    assert [secret.expires_at for secret in issued.secrets] == [None]


async def test_a_grace_ends_older_secrets_later_but_never_later_than_before(
    service: KeyService, store: InMemoryKeyStore
) -> None:
    first = await service.create("alice", KeyGrants())
    second = await service.rotate("alice", grace=60)
    third = await service.rotate("alice", grace=3600)
    assert await digests(store, "alice") == [sha256(key.secret) for key in (first, second, third)]
    ends = [secret.expires_at for secret in third.secrets]
    assert ends[0] is not None
    assert ends[1] is not None
    now = datetime.now(UTC)
    assert now < ends[0] <= now + timedelta(seconds=60)
    assert now + timedelta(seconds=3500) < ends[1] <= now + timedelta(seconds=3600)
    assert ends[2] is None


async def test_a_key_has_so_many_secrets_at_most(service: KeyService) -> None:
    await service.create("alice", KeyGrants())
    for _ in range(MAX_SECRETS - 1):
        await service.rotate("alice", grace=3600)
    with pytest.raises(InvalidRequest, match="without a grace"):
        await service.rotate("alice", grace=3600)
    assert len((await service.rotate("alice")).secrets) == 1


async def test_expiring_and_not_expiring(service: KeyService) -> None:
    await service.create("alice", KeyGrants())
    assert (await service.expire("alice", datetime.now(UTC))).expired
    assert (await service.get("alice")).expired
    later = datetime(2999, 1, 1, tzinfo=UTC)
    assert (await service.expire("alice", later)).expires_at == later
    assert (await service.expire("alice", None)).expires_at is None


async def test_revoking(service: KeyService) -> None:
    await service.create("alice", KeyGrants())
    await service.revoke("alice")
    missing: list[Callable[[], Awaitable[Any]]] = [
        lambda: service.revoke("alice"),
        lambda: service.rotate("alice"),
        lambda: service.expire("alice", None),
        lambda: service.get("alice"),
    ]
    for call in missing:
        with pytest.raises(KeyNotFound, match="There is no key 'alice'"):
            await call()


async def test_when_keys_were_last_used(service: KeyService, store: InMemoryKeyStore) -> None:
    await service.create("alice", KeyGrants())
    await store.note_uses({"alice": 1e9, "root": 1e9 + 1})
    uses = {key.name: key.last_used_at for key in await service.list()}
    assert uses == {
        "alice": datetime.fromtimestamp(1e9, UTC),
        "root": datetime.fromtimestamp(1e9 + 1, UTC),
    }


async def test_every_change_is_in_the_audit_log(service: KeyService) -> None:
    with (
        structlog.testing.capture_logs() as lines,
        audit.acting_as(audit.Actor("client", "root", "203.0.113.7")),
    ):
        first = await service.create("alice", KeyGrants())
        second = await service.rotate("alice", grace=60)
        await service.expire("alice", None)
        await service.revoke("alice")
    names = ["key_created", "key_rotated", "key_expiry_set", "key_revoked"]
    assert [line["event"] for line in lines] == names
    assert all((line["actor"], line["client"], line["name"]) == ("client", "root", "alice") for line in lines)
    assert not any(key.secret in str(lines) for key in (first, second))
