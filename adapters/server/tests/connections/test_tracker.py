"""Which connections are admitted, and which make room."""

import pytest

from framegate.core.settings import ServerSettings
from framegate.server.connections.tracker import ConnectionTracker
from framegate.server.requests.forwarded import TrustedProxies


class FakeConnection:
    def __init__(self, address: str) -> None:
        self.address = address
        self.aborted = False
        self.stalled = 0.0

    def close_if_overdue(self, now: float) -> float:
        return self.stalled

    def abort(self) -> None:
        self.aborted = True


def tracker(most: int, *, per_address: int = 2, proxies: tuple[str, ...] = ()) -> ConnectionTracker:
    settings = ServerSettings(max_connections_per_address=per_address)
    return ConnectionTracker(settings, most, TrustedProxies(proxies))


async def test_an_address_has_a_limit() -> None:
    connections = tracker(100)
    first, second, third, other = (FakeConnection(f"192.0.2.{number}") for number in (1, 1, 1, 2))
    assert not connections.add(first)
    assert not connections.add(second)
    assert "2 open connections" in connections.add(third)
    assert not connections.add(other)
    connections.remove(third)  # it was never admitted
    assert connections.add(third)
    connections.remove(first)
    connections.remove(first)
    assert not connections.add(third)
    assert not first.aborted
    assert len(connections) == 3


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "10.1.2.3"])
async def test_proxies_and_this_machine_have_no_limit(address: str) -> None:
    connections = tracker(100, proxies=("10.0.0.0/8",))
    assert not any(connections.add(FakeConnection(address)) for _ in range(50))


async def test_no_limit_per_address() -> None:
    connections = tracker(100, per_address=0)
    assert not any(connections.add(FakeConnection("192.0.2.1")) for _ in range(50))


async def test_who_has_awaited_a_request_for_longest_makes_room() -> None:
    connections = tracker(3)
    first, second, third, fourth, fifth = (FakeConnection(f"192.0.2.{number}") for number in range(5))
    for connection in (first, second, third):
        assert not connections.add(connection)
    connections.request_received(first)
    connections.response_sent(first)
    connections.request_received(second)
    assert not connections.add(fourth)
    assert third.aborted
    assert not connections.add(fifth)
    assert first.aborted
    assert not second.aborted
    assert len(connections) == 3


async def test_then_who_has_stalled_for_longest() -> None:
    connections = tracker(3)
    working, slow, slower = (FakeConnection(f"192.0.2.{number}") for number in range(3))
    for connection in (working, slow, slower):
        assert not connections.add(connection)
        connections.request_received(connection)
    refused = FakeConnection("192.0.2.9")
    assert "as many open connections" in connections.add(refused)
    slow.stalled, slower.stalled = 5.0, 9.0
    connections.sweep()
    assert not connections.add(FakeConnection("192.0.2.10"))
    assert slower.aborted
    assert not slow.aborted
    assert not working.aborted
