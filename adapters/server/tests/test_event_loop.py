"""The event loop of a server's processes."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE

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


def test_child_processes_get_none_of_its_files() -> None:
    inherited, other_end = os.pipe()
    os.set_inheritable(inherited, True)
    program = f"import os\ntry: print(os.fstat({inherited}).st_ino)\nexcept OSError: print(0)"
    printed = b""

    async def start_child() -> None:
        nonlocal printed
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE)
        printed, _ = await child.communicate()

    try:
        event_loop.run(start_child())
        assert int(printed) != os.fstat(inherited).st_ino
    finally:
        os.close(inherited)
        os.close(other_end)
