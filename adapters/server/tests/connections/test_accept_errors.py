"""What is logged when no connection can be accepted."""

import asyncio
import errno
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from framegate.server.connections.accept_errors import AcceptErrors

MESSAGE = "socket.accept() out of system resource"
FULL = {"message": MESSAGE, "exception": OSError(errno.EMFILE, "Too many open files")}


def test_one_line_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    loop, handler = Mock(spec=asyncio.AbstractEventLoop), AcceptErrors()
    with capture_logs() as lines:
        for _ in range(2000):
            handler(loop, FULL)
        now += 1
        handler(loop, FULL)
    assert [(line["event"], line["reason"], line["also_failed"]) for line in lines] == [
        ("accept_failed", "Too many open files", 0),
        ("accept_failed", "Too many open files", 1999),
    ]
    loop.default_exception_handler.assert_not_called()


@pytest.mark.parametrize("context", [{"message": "x"}, {"message": MESSAGE, "exception": ValueError()}])
def test_other_errors_are_asyncios(context: dict[str, object]) -> None:
    loop = Mock(spec=asyncio.AbstractEventLoop)
    AcceptErrors()(loop, context)
    loop.default_exception_handler.assert_called_once_with(context)
