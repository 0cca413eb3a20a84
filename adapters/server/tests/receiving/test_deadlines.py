"""Bodies that come in time, and those that don't."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from framegate.server.connections.exchange import HAS_MESSAGE
from framegate.server.errors.error_info import BodyTimedOut
from framegate.server.receiving.deadlines import BodyDeadlines


async def received(pieces: Sequence[bytes], *, is_here: bool, pause: float = 0.0) -> bytes:
    """Return the body that an app receives in ``pieces``, which come after ``pause`` seconds each."""
    body = b""
    left = list(pieces)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal body
        more = True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]

    async def receive() -> Any:
        if pause:
            await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(_: Any) -> None:
        raise AssertionError

    scope: Any = {"type": "http", "extensions": {HAS_MESSAGE: lambda: is_here}}
    await BodyDeadlines(app, timeout=0.05, min_rate=0)(scope, receive, send)
    return body


@pytest.mark.parametrize(("is_here", "timers"), [(True, 0), (False, 2)])
async def test_only_what_is_awaited_needs_a_timer(
    monkeypatch: pytest.MonkeyPatch, *, is_here: bool, timers: int
) -> None:
    loop = asyncio.get_running_loop()
    started: list[float] = []

    def call_at(when: float, *_: object, **__: object) -> asyncio.TimerHandle:
        started.append(when)
        return asyncio.TimerHandle(when, lambda: None, (), loop)

    monkeypatch.setattr(loop, "call_at", call_at)
    assert await received([b"a", b"b"], is_here=is_here) == b"ab"
    assert len(started) == timers


async def test_what_does_not_come_in_time_is_given_up() -> None:
    with pytest.raises(BodyTimedOut, match="0 bytes arrived"):
        await received([b"a"], is_here=False, pause=60)
