"""Characters, over ports in memory."""

import asyncio
import re
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from framegate.core import audit
from framegate.core.character_service import slug_of
from framegate.core.characters import Character
from framegate.core.errors import Busy, InvalidMedia, NotFound, QuotaReached, Unavailable
from framegate.core.ports import CharacterLimits
from framegate.core.submission import Client
from framegate.core.types import Task
from tests.support.service_stand import ALICE, BOB, BROKEN, PICTURE, ServiceStand

USERNAME = re.compile(r"[a-z0-9_]+[0-9]{3}")


@pytest.fixture
def stand(tmp_path: Path) -> ServiceStand:
    return ServiceStand(tmp_path)


async def create(
    stand: ServiceStand,
    name: str = "",
    *,
    temporary: bool = False,
    client: Client = ALICE,
) -> Character:
    return await stand.services.characters.create(
        PICTURE,
        start=0.0,
        end=1.5,
        client=client,
        display_name=name,
        temporary=temporary,
    )


async def test_a_character_is_named_kept_and_found(stand: ServiceStand) -> None:
    made = await create(stand, "  Zoë \n von Bülow ")
    assert (made.display_name, made.owner, made.temporary) == ("Zoë von Bülow", "alice", False)
    assert re.fullmatch(r"zoe_von_bulow[0-9]{3}", made.username)
    assert stand.files() == set(made.files), "the video itself is not kept"
    characters = stand.services.characters
    assert await characters.get(made.username, "alice") == made
    assert await characters.get(made.username) == made, "the operator's"
    other = await create(stand)
    assert list(await characters.list("alice")) == [other, made]
    assert list(await characters.list("bob")) == []
    assert other.username.startswith("character")


async def test_another_keys_character_is_not_found(stand: ServiceStand) -> None:
    made = await create(stand)
    for call in (stand.services.characters.get, stand.services.characters.delete):
        with pytest.raises(NotFound, match=f"no character @{made.username}"):
            await call(made.username, "bob")
    job = await stand.submit(characters=(made.username,), client=BOB)
    assert (job.request.task, job.request.image) == (Task.TEXT_TO_VIDEO, None)


async def test_deleting_removes_the_pictures(stand: ServiceStand) -> None:
    made = await create(stand)
    with (
        structlog.testing.capture_logs() as logs,
        audit.acting_as(audit.Actor("client", "alice", "203.0.113.7")),
    ):
        await stand.services.characters.delete(made.username, "alice")
    assert [line for line in logs if "actor" in line] == [
        {
            "event": "character_deleted",
            "log_level": "info",
            "actor": "client",
            "client": "alice",
            "address": "203.0.113.7",
            "character": made.username,
            "owner": "alice",
        }
    ]
    assert stand.files() == set()
    with pytest.raises(NotFound):
        await stand.services.characters.get(made.username)


async def test_a_job_has_its_own_copy_of_its_first_character(stand: ServiceStand) -> None:
    first, second = await create(stand), await create(stand)
    job = await stand.submit(characters=("nobody123", first.username, second.username))
    image = job.request.image
    assert image is not None
    assert job.request.task == Task.IMAGE_TO_VIDEO
    assert (image.width, image.height) == (first.reference.width, first.reference.height)
    await stand.services.characters.delete(first.username)
    assert stand.artifacts.path(image.key) is not None
    picture = await stand.submit(Task.TEXT_TO_IMAGE, characters=(second.username,))
    assert picture.request.task == Task.IMAGE_TO_IMAGE


async def test_a_given_picture_wins_over_a_character(stand: ServiceStand) -> None:
    made = await create(stand)
    job = await stand.submit(Task.IMAGE_TO_VIDEO, characters=(made.username,), image=PICTURE)
    assert job.request.image is not None
    assert (job.request.image.width, job.request.image.height) == (1000, 500)
    assert len(stand.files()) == 2, "the character's own"


async def test_nothing_is_left_of_what_failed(stand: ServiceStand, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidMedia):
        await stand.services.characters.create(BROKEN, start=0, end=3, client=ALICE)
    with pytest.raises(InvalidMedia, match="2 s long") as caught:
        await stand.services.characters.create(PICTURE, start=2, end=3, client=ALICE)
    assert caught.value.param == "timestamps"

    add = stand.characters.add

    async def lost(character: Character, limits: CharacterLimits) -> bool:
        await add(character, limits)
        raise Unavailable("The answer was lost.")

    monkeypatch.setattr(stand.characters, "add", lost)
    with pytest.raises(Unavailable):
        await create(stand)
    assert list(await stand.services.characters.list()) == []
    assert len(stand.media.discarded) == len(stand.media.taken)
    assert stand.files() == set()


async def test_who_leaves_meanwhile_leaves_nothing(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    adding = asyncio.Event()

    async def slow(character: Character, limits: CharacterLimits) -> bool:
        adding.set()
        return await asyncio.Future[bool]()

    monkeypatch.setattr(stand.characters, "add", slow)
    creating = asyncio.create_task(create(stand))
    await adding.wait()
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert stand.files() == set()


async def test_a_key_keeps_as_many_characters_as_it_may(stand: ServiceStand) -> None:
    client = Client("alice", max_characters=2)
    made = [await create(stand, client=client) for _ in range(2)]
    taken = len(stand.media.taken)
    with pytest.raises(QuotaReached):
        await create(stand, client=client)
    assert len(stand.media.taken) == taken, "the video is not even fetched"
    await create(stand, temporary=True, client=client)
    await stand.services.characters.delete(made[0].username, "alice")
    await create(stand, client=client)
    with pytest.raises(QuotaReached):
        await create(stand, client=client)


async def test_who_is_overtaken_at_the_quota_leaves_nothing(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def passes(owner: str, limits: CharacterLimits) -> None:
        """Answer as before another request took the last place."""

    monkeypatch.setattr(stand.characters, "check_quota", passes)
    client = Client("alice", max_characters=1)
    kept = await create(stand, client=client)
    with pytest.raises(QuotaReached):
        await create(stand, client=client)
    assert stand.files() == set(kept.files)


async def test_usernames_are_unique_though_names_are_not(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framegate.core.character_service.secrets.randbelow", _seven)

    names = [(await create(stand, "Ann")).username for _ in range(10)]
    assert names[0] == "ann007"
    assert len(set(names)) == 10
    assert all(USERNAME.fullmatch(name) for name in names)
    monkeypatch.setattr("framegate.core.character_service.secrets.choice", _b)
    for _ in range(7):
        await create(stand, "Bob")
    with pytest.raises(Busy):
        await create(stand, "Bob")
    assert len(stand.files()) == 2 * len(await stand.services.characters.list())


def _seven(_: int) -> int:
    return 7


def _b(_: str) -> str:
    return "b"


@given(st.text(max_size=60))
def test_any_name_makes_a_username(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9_]*[a-z0-9])?", slug_of(name))
    assert len(slug_of(name)) <= 24
