"""An API process among several, while its parent talks to it."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from framegate.cli.app_context import create_context
from framegate.cli.config_file import Config, load_settings
from framegate.cli.own_workers import OwnWorkersReport
from framegate.server.api_processes.channel import ParentChannel
from framegate.server.api_processes.child import serve_as_child
from framegate.server.api_processes.messages import Message, ShowBanner, Start
from framegate.server.listening import listen
from tests.support.ports import free_port


@pytest.fixture
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class LateParent:
    """A parent that stops the process as soon as it has started; a message is late by then."""

    def __init__(self, has_closed: Callable[[], bool]) -> None:
        self.was_heard = False
        self._has_closed = has_closed
        self._receive: Callable[[Message], object] | None = None

    def follow(self, receive: Callable[[Message], object]) -> None:
        self._receive = receive

    def reply(self, _: bytes) -> None:
        signal.raise_signal(signal.SIGTERM)
        self._watch()

    def _watch(self) -> None:
        if not self._has_closed():
            asyncio.get_running_loop().call_later(0.001, self._watch)
        elif self._receive is not None:
            self._receive(ShowBanner())
            self.was_heard = True


@pytest.mark.usefixtures("signals")
def test_a_message_may_come_once_the_process_no_longer_listens(tmp_path: Path) -> None:
    overrides = {
        "server.data_dir": str(tmp_path),
        "server.api_processes": 2,
        "queue.url": f"redis://127.0.0.1:{free_port()}",
    }
    context = create_context(load_settings(environ={}, overrides=overrides))

    def read_config(_: str) -> Config:
        raise AssertionError("there is no other config")

    with listen("127.0.0.1", 0) as listener:
        parent = LateParent(lambda: listener.fileno() < 0)
        start = Start("", None, OwnWorkersReport())
        serve_as_child(context, cast(ParentChannel, parent), start, listener, read_config=read_config)

    assert parent.was_heard
