"""The ring of valid keys: where they come from, until when they are valid, and what is known of them."""

import asyncio
import gc
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from framegate.core.concurrency import cancel_and_wait
from framegate.core.config_errors import ErrorCollector
from framegate.core.errors import ConfigError, Unauthorized, Unavailable
from framegate.core.key_service import KeyService
from framegate.core.keys import KeyGrants, StoredKeys
from framegate.core.options import EnvSecret
from framegate.core.registry import Registry
from framegate.core.settings import AuthSettings, KeyConfig, ServerSettings, Settings
from framegate.core.testing import InMemoryKeyStore
from framegate.server.auth import key_ring
from framegate.server.auth.key_checks import check_keys
from framegate.server.auth.key_ring import KeyRing


def sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def config(name: str, *secrets: str, **values: Any) -> KeyConfig:
    return KeyConfig(name=name, sha256=tuple(map(sha256, secrets or (f"{name}-key",))), **values)


class FailingStore(InMemoryKeyStore):
    """Can't be reached while ``down``."""

    down = True

    async def version(self) -> int:
        self._check()
        return await super().version()

    async def read(self) -> StoredKeys:
        self._check()
        return await super().read()

    async def note_uses(self, uses: Mapping[str, float]) -> None:
        self._check()
        await super().note_uses(uses)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("It is away.")


def service(store: InMemoryKeyStore) -> KeyService:
    return KeyService(store, Registry({}), configured={})


@asynccontextmanager
async def followed(ring: KeyRing) -> AsyncGenerator[None]:
    task = asyncio.create_task(ring.follow())
    yield
    await cancel_and_wait([task])


async def reached(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110  # what it looks at says nothing of its own accord
            await asyncio.sleep(0.005)


async def accepted(ring: KeyRing, secret: str) -> None:
    await reached(lambda: is_accepted(ring, secret))


async def refused(ring: KeyRing, secret: str) -> None:
    await reached(lambda: not is_accepted(ring, secret))


def is_accepted(ring: KeyRing, secret: str) -> bool:
    try:
        ring.authenticate(f"Bearer {secret}")
    except Unauthorized:
        return False
    return True


def test_one_digest_is_made_however_many_keys_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = KeyRing([config(f"key-{number}") for number in range(500)])
    made: list[bytes] = []
    real = hashlib.sha256

    def counting(data: bytes) -> Any:
        made.append(data)
        return real(data)

    monkeypatch.setattr(hashlib, "sha256", counting)
    assert ring.authenticate("Bearer key-499-key").name == "key-499"
    with pytest.raises(Unauthorized):
        ring.authenticate("Bearer none")
    assert made == [b"key-499-key", b"none"]


async def test_no_secret_stays_in_memory() -> None:
    store = InMemoryKeyStore()
    ring = KeyRing([config("alice")], store)
    issued = await service(store).create("bob", KeyGrants())
    await ring.load()
    held = [ring]
    for _ in range(6):
        held = gc.get_referents(*held)
        assert issued.secret not in [text for text in held if isinstance(text, str)]


def test_a_key_may_have_several_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_KEY", "the-old-one")
    monkeypatch.setenv("NEW_KEY", "the-new-one")
    variables = KeyConfig(name="bob", key=(EnvSecret(env="OLD_KEY"), EnvSecret(env="NEW_KEY")))
    ring = KeyRing([config("alice", "first", "second"), variables])
    names = {"first": "alice", "second": "alice", "the-old-one": "bob", "the-new-one": "bob"}
    assert {secret: ring.authenticate(f"Bearer {secret}").name for secret in names} == names


def test_one_key_under_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAME_KEY", "same")
    pairs = [
        [config("alice", "same"), config("bob", "same")],
        [config("alice", "other", "same"), KeyConfig(name="bob", key=EnvSecret(env="SAME_KEY"))],
    ]
    for pair in pairs:
        with pytest.raises(ConfigError, match=r"^auth\.keys\.bob: 'alice' and 'bob' have the same key"):
            KeyRing(pair)
    KeyRing([config("alice", "same", "same")])


async def test_keys_of_the_store_come_and_go() -> None:
    store = InMemoryKeyStore()
    keys, ring = service(store), KeyRing([], store)
    await ring.load()
    async with followed(ring):
        issued = await keys.create("alice", KeyGrants(plan="pro", max_queued=2))
        await accepted(ring, issued.secret)
        client = ring.authenticate(f"bearer  {issued.secret}")
        assert (client.name, client.plan, client.max_queued) == ("alice", "pro", 2)
        rotated = await keys.rotate("alice", grace=3600)
        await accepted(ring, rotated.secret)
        assert is_accepted(ring, issued.secret)
        last = await keys.rotate("alice")
        await refused(ring, issued.secret)
        assert (is_accepted(ring, rotated.secret), is_accepted(ring, last.secret)) == (False, True)
        await keys.revoke("alice")
        await refused(ring, last.secret)


async def test_after_the_last_key_is_revoked_a_key_is_still_needed() -> None:
    store = InMemoryKeyStore()
    keys, ring = service(store), KeyRing([], store)
    await ring.load()
    assert (ring.known, ring.keyed) == (True, False)
    await keys.create("alice", KeyGrants())
    await keys.revoke("alice")
    await ring.load()
    assert ring.keyed
    again = KeyRing([], store)
    await again.load()
    assert again.keyed


async def test_a_store_that_loses_its_keys_opens_nothing() -> None:
    store = InMemoryKeyStore()
    issued = await service(store).create("alice", KeyGrants())
    ring = KeyRing([], store)
    await ring.load()
    ring._store = InMemoryKeyStore()  # pyright: ignore[reportPrivateUsage]  # as if it had been flushed
    await ring.load()
    assert ring.keyed
    assert not is_accepted(ring, issued.secret)


async def test_while_the_store_is_away_the_last_known_keys_are_valid() -> None:
    store = FailingStore()
    store.down = False
    issued = await service(store).create("alice", KeyGrants())
    ring = KeyRing([config("root")], store)
    await ring.load()
    store.down = True
    async with followed(ring):
        await service(store).expire("alice", datetime.now(UTC))
        assert is_accepted(ring, issued.secret)
        assert is_accepted(ring, "root-key")
        assert not is_accepted(ring, "wrong")
        store.down = False
        await service(store).expire("alice", datetime.now(UTC))
        await refused(ring, issued.secret)


async def test_before_the_store_was_read_nothing_unknown_is_decided() -> None:
    store = FailingStore()
    ring = KeyRing([config("root")], store)
    with pytest.raises(Unavailable):
        await ring.load()
    assert is_accepted(ring, "root-key")
    with pytest.raises(Unavailable, match="API keys can't be read"):
        ring.authenticate("Bearer perhaps-a-stored-one")
    with pytest.raises(Unauthorized):
        ring.authenticate(None)
    store.down = False
    async with followed(ring):
        await reached(lambda: ring.known)
        assert not is_accepted(ring, "perhaps-a-stored-one")


async def test_expiry_is_checked_at_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    store = InMemoryKeyStore()
    now = datetime.now(UTC)
    issued = await service(store).create("alice", KeyGrants(expires_at=now + timedelta(hours=2)))
    rotated = await service(store).rotate("alice", grace=3600)
    ring = KeyRing([config("root", expires_at=now + timedelta(hours=3))], store)
    await ring.load()
    secrets = (issued.secret, rotated.secret, "root-key")
    seen: list[tuple[bool, ...]] = []
    for hours in (0.9, 1.1, 2.1, 3.1):
        monkeypatch.setattr(time, "time", lambda hours=hours: now.timestamp() + hours * 3600)
        seen.append(tuple(is_accepted(ring, secret) for secret in secrets))
    assert seen == [
        (True, True, True),
        (False, True, True),
        (False, False, True),
        (False, False, False),
    ]
    with pytest.raises(Unauthorized, match="expired"):
        ring.authenticate("Bearer root-key")


async def test_a_name_that_the_config_takes_is_the_config_s() -> None:
    store = InMemoryKeyStore()
    issued = await service(store).create("alice", KeyGrants())
    ring = KeyRing([config("alice")], store)
    await ring.load()
    assert not is_accepted(ring, issued.secret)
    assert is_accepted(ring, "alice-key")


async def test_uses_are_noted_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_ring, "_USES_SECONDS", 0.0)
    store = InMemoryKeyStore()
    ring = KeyRing([config("root")], store)
    before = time.time()
    ring.authenticate("Bearer root-key")
    noted = asyncio.Event()
    monkeypatch.setattr(store, "note_uses", _then_set(store.note_uses, noted))
    async with followed(ring), asyncio.timeout(60):
        await noted.wait()
    assert before <= (await store.last_uses())["root"] <= time.time()


def _then_set(
    note_uses: Callable[[Mapping[str, float]], Awaitable[None]], noted: asyncio.Event
) -> Callable[[Mapping[str, float]], Awaitable[None]]:
    async def note(uses: Mapping[str, float]) -> None:
        await note_uses(uses)
        noted.set()

    return note


def settings(*keys: KeyConfig, host: str = "127.0.0.1") -> Settings:
    return Settings(server=ServerSettings(host=host), auth=AuthSettings(keys=keys))


def check(settings: Settings) -> None:
    found = ErrorCollector()
    check_keys(settings, found)
    found.raise_errors()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "video.example.com"])
def test_short_keys_are_for_loopback_only(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("SHORT_KEY", "x" * 15)
    monkeypatch.setenv("LONG_KEY", "x" * 16)
    short, long = (
        KeyConfig(name=f"k-{name}", key=EnvSecret(env=f"{name}_KEY")) for name in ("SHORT", "LONG")
    )
    both = KeyConfig(name="both", key=(EnvSecret(env="LONG_KEY"), EnvSecret(env="SHORT_KEY")))
    for key in (short, both):
        with pytest.raises(ConfigError, match=f"{key.name}.*15 characters.*at least 16.*not on") as caught:
            check(settings(long, key, host=host))
        assert "xxx" not in caught.value.message
        check(settings(key, host="localhost"))
    check(settings(long, config("digest", "x"), host=host))


def test_a_short_key_is_a_warning_on_loopback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHORT_KEY", "han1234")
    check(settings(KeyConfig(name="a", key=EnvSecret(env="SHORT_KEY"))))
    written = capsys.readouterr().out
    assert "short_api_key" in written
    assert "han1234" not in written
