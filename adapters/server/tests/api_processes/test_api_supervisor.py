"""What the API processes are told, and what becomes of their answers."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
import pytest

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.config_file import read_config
from framegate.cli.own_workers import OwnWorkersReport
from framegate.core.errors import ConfigError, Unavailable
from framegate.server.api_processes import supervisor as module
from framegate.server.api_processes.messages import (
    STARTED,
    Conclude,
    Message,
    Prepare,
    Prepared,
    ShowBanner,
    Start,
    decode,
    encode,
)
from framegate.server.api_processes.supervisor import ApiSlot, ApiSupervisor
from framegate.server.listening import SharedPort

FIRST = "[server]\nmax_body = 1\n"


def config(number: int) -> AppContext:
    read = read_config(None, {}, text=f"[queue]\nmax_queued = {number}\n")
    return create_context(read.settings, read.origins)


def text(number: int) -> str:
    return config(number).origins.text


class Child:
    """A process of a slot, as far as its socket tells."""

    def __init__(self, slot: ApiSlot, pid: int, cleanup: ExitStack) -> None:
        ours, self._end = socket.socketpair()
        for end in (ours, self._end):
            cleanup.enter_context(end)
            end.setblocking(False)
        self._slot = slot
        slot.opened(pid, ours)

    async def received(self) -> list[Message]:
        """Return the messages that have come since the last call."""
        for _ in range(10):
            await asyncio.sleep(0)
        try:
            return [decode(line) for line in self._end.recv(65536).splitlines()]
        except BlockingIOError:
            return []

    def start(self) -> None:
        self._slot.received(STARTED)

    def answer(self, number: int, *, usable: bool = True) -> None:
        self._slot.received(encode(Prepared(number, usable)))


class Stand:
    """A supervisor with two slots, whose processes the test makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cleanup: ExitStack) -> None:
        self.slots: list[ApiSlot] = []
        self._cleanup = cleanup

        def note(*arguments: object, **options: object) -> ApiSlot:
            self.slots.append(ApiSlot(*arguments, **options))  # type: ignore[arg-type]  # they pass through
            return self.slots[-1]

        port = SharedPort("127.0.0.1", 0)
        cleanup.callback(port.close)
        with monkeypatch.context() as patch:
            patch.setattr(module, "ApiSlot", note)
            self.supervisor = ApiSupervisor([], 2, port, FIRST, grace=1.0)

    def child(self, number: int, *, pid: int = 1) -> Child:
        return Child(self.slots[number], pid, self._cleanup)


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    with ExitStack() as cleanup:
        yield Stand(monkeypatch, cleanup)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PREPARE_SECONDS", 0.01)


async def started(stand: Stand) -> tuple[Child, Child]:
    """Return two processes that take requests, and that have read what they were told at first."""
    children = stand.child(0, pid=11), stand.child(1, pid=12)
    for child in children:
        child.start()
        assert isinstance((await child.received())[0], Start)
    return children


async def test_a_config_takes_effect_once_all_can_use_it(stand: Stand) -> None:
    one, other = await started(stand)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    for child in (one, other):
        assert await child.received() == [Prepare(1, text(1))]
        assert not preparing.done()
        child.answer(1)
    await preparing
    assert await one.received() == []
    stand.supervisor.apply()
    assert await one.received() == await other.received() == [Conclude(1, apply=True)]


async def test_a_config_that_one_refuses_is_forgotten_by_all(stand: Stand) -> None:
    one, other = await started(stand)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    await one.received()
    one.answer(1)
    other.answer(1, usable=False)
    with pytest.raises(ConfigError, match="has logged why"):
        await preparing
    await stand.supervisor.discard()
    assert await one.received() == [Conclude(1, apply=False)]
    assert (await other.received())[-1] == Conclude(1, apply=False)
    stand.slots[0].closed()
    assert (await stand.child(0).received())[0] == Start(FIRST, None, OwnWorkersReport())


@pytest.mark.usefixtures("impatient")
async def test_an_answer_that_comes_late_is_not_taken_for_the_next_one(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await started(stand)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    await one.received()
    one.answer(1)
    with pytest.raises(Unavailable, match=r"No answer from API process 12 within 0\.01 seconds"):
        await preparing
    await stand.supervisor.discard()
    monkeypatch.setattr(module, "_PREPARE_SECONDS", 30)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(2)))
    assert (await other.received())[-2:] == [Conclude(1, apply=False), Prepare(2, text(2))]
    one.answer(2)
    other.answer(1)  # it has only now looked at the first one
    await other.received()
    assert not preparing.done()
    other.answer(2, usable=False)
    with pytest.raises(ConfigError):
        await preparing


async def test_a_process_that_is_starting_is_asked_as_well(stand: Stand) -> None:
    starting = stand.child(0)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    assert [type(message) for message in await starting.received()] == [Start, Prepare]
    starting.answer(1)
    await preparing
    assert not stand.supervisor.started.is_set(), "an answer doesn't mean that it takes requests"
    assert not stand.slots[0].has_started


async def test_a_process_that_replaces_one_meanwhile_follows_too(stand: Stand) -> None:
    one, _ = await started(stand)
    stand.slots[1].closed()
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    await one.received()
    later = stand.child(1)
    one.answer(1)
    await preparing
    stand.supervisor.apply()
    start, *following = await later.received()
    assert isinstance(start, Start)
    assert start.reloaded is None
    assert following == [Prepare(1, text(1)), Conclude(1, apply=True)]
    stand.slots[1].closed()
    start, *following = await stand.child(1).received()
    assert isinstance(start, Start)
    assert (start.reloaded, following) == (text(1), [])


async def test_a_process_that_ends_is_not_waited_for(stand: Stand) -> None:
    one, _ = await started(stand)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    await one.received()
    one.answer(1)
    stand.slots[1].closed()
    await preparing


async def test_answers_may_come_in_pieces(stand: Stand) -> None:
    one, other = await started(stand)
    preparing = asyncio.create_task(stand.supervisor.prepare(config(1)))
    await one.received()
    other.answer(1)
    for byte in msgspec.json.encode(Prepared(1, usable=True)) + b"\n":
        assert not preparing.done()
        stand.slots[0].received(bytes([byte]))
    await preparing


async def test_the_first_process_that_takes_requests_shows_the_banner(stand: Stand) -> None:
    gone, other = stand.child(0), stand.child(1)
    stand.slots[0].closed()  # it has ended before that
    other.start()
    stand.child(0).start()
    assert [type(message) for message in await other.received()] == [Start, ShowBanner]
    assert ShowBanner() not in await gone.received()
