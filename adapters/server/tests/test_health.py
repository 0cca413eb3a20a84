"""The probes: whether the process is alive, can take requests, and how the whole installation is."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from framegate.core.errors import StorageFull, Unavailable
from framegate.core.ports import QueueCounts, WorkerPresence
from framegate.core.testing import InMemoryJobStore, InMemoryKeyStore
from tests.support.http_stand import WORKER, Stand, StandMaker
from tests.support.running import eventually

NO_JOBS = {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}


def get(stand: Stand, path: str) -> requests.Response:
    return requests.get(stand.url + path, timeout=10)


def get_status(stand: Stand) -> requests.Response:
    """Ask again if the queue was too slow, as on a machine that halts for a moment."""

    def answered() -> list[requests.Response]:
        answer = get(stand, "/status")
        return [answer] if answer.json()["models"] else []

    [answer] = eventually(answered, what="an answer of the queue")
    return answer


def test_readiness_is_independent_of_workers(shared_stand: Stand) -> None:
    shared_stand.store.living.clear()
    assert get(shared_stand, "/health").json() == {"status": "ok"}
    ready = get(shared_stand, "/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})


def test_status_shows_queue_workers_and_models(stand: Stand) -> None:
    found = get_status(stand)
    assert (found.status_code, found.json()) == (
        200,
        {
            "status": "ready",
            "queue": NO_JOBS,
            "workers": 1,
            "models": {"preview": {"workers": 1, "paused": False}},
            "problems": [],
        },
    )
    stand.store.living.clear()
    found = get_status(stand)
    assert found.status_code == 503
    assert int(found.headers["Retry-After"]) > 0
    assert found.json() == {
        "status": "no workers",
        "queue": NO_JOBS,
        "workers": 0,
        "models": {"preview": {"workers": 0, "paused": False}},
        "problems": ["No worker is alive."],
    }


@pytest.mark.parametrize("outage", [StorageFull("The disk is full."), Unavailable("It is away.")])
def test_not_ready_without_a_storage(stand: Stand, outage: Unavailable) -> None:
    stand.artifacts.outage = outage
    ready = get(stand, "/ready")
    assert (ready.status_code, ready.json()) == (503, {"status": "unavailable", "reason": outage.message})
    found = get_status(stand)
    assert (found.status_code, found.json()["status"]) == (503, "unavailable")
    assert found.json()["problems"] == [outage.message]
    assert found.json()["workers"] == 1


def test_not_ready_before_the_start_was_checked_and_when_it_is_to_stop(stand: Stand) -> None:
    stand.process.start_checked = False
    assert get(stand, "/ready").json()["reason"].startswith("Queue and storage have yet to be checked")
    stand.process.start_checked = True
    assert get(stand, "/ready").status_code == 200
    stand.process.stopping = True
    ready = get(stand, "/ready")
    assert (ready.status_code, ready.json()["reason"]) == (503, "The server is shutting down.")


class _UnreadKeys(InMemoryKeyStore):
    async def version(self) -> int:
        raise Unavailable("The keys are away.")


def test_not_ready_before_the_keys_were_read(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InMemoryKeyStore, "version", _UnreadKeys.version)
    stand = make_stand()
    ready = get(stand, "/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
    assert "API keys can't be read" in ready.json()["reason"]


class _SilentStore:
    """How often a store was asked that answers nobody until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.silent = True
        for name, answer in (
            ("counts", QueueCounts(0, 0, 0, 0, 0)),
            ("worker_presence", WorkerPresence((WORKER,), {})),
        ):
            monkeypatch.setattr(InMemoryJobStore, name, self._asked(answer))

    def _asked(self, answer: object) -> Callable[[InMemoryJobStore], Any]:
        async def ask(_: InMemoryJobStore) -> object:
            self.calls += 1
            while self.silent:  # noqa: ASYNC110  # another thread lets it go
                await asyncio.sleep(0.01)
            return answer

        return ask


def test_probes_of_a_silent_queue_are_answered_within_a_second(
    make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, one call waits for the queue."""
    store = _SilentStore(monkeypatch)
    stand = make_stand()
    for path, calls in (("/ready", 1), ("/ready", 1), ("/status", 2)):
        started = time.monotonic()
        answer = get(stand, path)
        assert time.monotonic() - started < 1
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
        assert "hasn't answered within 0.8 s" in str(answer.json())
        assert store.calls == calls
    assert get(stand, "/health").status_code == 200
    store.silent = False
    eventually(lambda: get(stand, "/ready").status_code == 200, what="readiness")
    assert get_status(stand).json()["status"] == "ready"
