"""The event loop of a server's processes."""

import asyncio
import sys

import pytest

from framegate.server import event_loop


async def loop_name() -> str:
    return type(asyncio.get_running_loop()).__module__


def name_of_new() -> str:
    with asyncio.Runner(loop_factory=event_loop.new_event_loop) as runner:
        return runner.run(loop_name())


def test_uvloop_is_used_where_it_is() -> None:
    assert name_of_new() == "uvloop"
    assert asyncio.run(loop_name()).startswith("asyncio."), "it is not made the default of other loops"


def test_asyncio_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert name_of_new().startswith("asyncio.")
