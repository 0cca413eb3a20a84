"""What operators want to be done with models, carried out between jobs."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.models import ModelSpec
from framegate.core.ports import ModelRequest
from framegate.core.types import Shot, Task
from framegate.storage.jobs.worker_store import LoadVerdict
from framegate.worker.model_cache import UNEXPECTED, ModelCache
from framegate.worker.model_upkeep import AGAIN_SECONDS, ModelUpkeep
from framegate.worker.resting_models import MAX_FAILURES, RestingModels

PLAIN = ModelSpec(id="", summary="", backend="fake", tasks=frozenset(Task))
SPECS = {name: replace(PLAIN, id=name, source=name) for name in ("a", "b", "broken", "odd", "stuck")}


class Fake(Backend):
    def load(self, device: str) -> None:
        if self.source == "broken":
            raise GenerationFailed("Its weights are damaged.")
        if self.source == "odd":
            raise ValueError("/secret/path")

    def unload(self) -> None:
        if self.source == "stuck":
            raise RuntimeError("CUDA error")

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        raise AssertionError("nothing is made here")


class Stand:
    """Models, their upkeep, and what was announced: `history` holds the states of all models in turn."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.models = ModelCache(lambda: SPECS, "cpu", unload_after=10.0, now=lambda: self.seconds)
        self.resting = RestingModels(lambda: 0.0)
        self.loading = self.is_stopping = False
        self.history: list[dict[str, str]] = []
        self.verdict = LoadVerdict.BEGIN
        self.ended: list[dict[str, str]] = []
        self.upkeep = ModelUpkeep(
            self.models,
            self.resting,
            begin_load=lambda _: self.verdict,
            end_load=lambda: self.ended.append(self.states()),
            loading=self._loading,
            announce=lambda: None,
            is_stopping=lambda: self.is_stopping,
            now=lambda: self.seconds,
        )
        self.models.on_change = lambda: self.history.append(self.states())

    def states(self) -> dict[str, str]:
        return {name: load.state.value for name, load in self.models.loads.items()}

    @contextmanager
    def _loading(self) -> Generator[None]:
        self.loading = True
        yield
        self.loading = False

    def request(self, *requests: tuple[int, str, bool]) -> None:
        self.upkeep.receive([ModelRequest(model, number, load, 0.0) for number, model, load in requests])


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    def load_object(import_string: str) -> type[Backend]:
        return Fake

    monkeypatch.setattr("framegate.core.plugins.load_object", load_object)
    return Stand()


def test_requests_are_carried_out_in_their_order(stand: Stand) -> None:
    assert not stand.upkeep.is_due
    stand.request((1, "b", True), (2, "a", True))
    assert stand.upkeep.is_due
    assert (stand.upkeep.carried_out, stand.states()) == ({}, {}), "only the thread of the jobs may do it"
    stand.upkeep.run()
    assert stand.states() == {"b": "loaded", "a": "loaded"}
    assert stand.history[0] == {"b": "loading"}
    assert stand.upkeep.carried_out == {"b": "1@0.000", "a": "2@0.000"}
    assert not stand.upkeep.is_due
    stand.request((1, "b", True), (3, "a", False))
    stand.upkeep.run()
    assert stand.states() == {"b": "loaded"}


def test_a_later_request_replaces_one_that_waits(stand: Stand) -> None:
    stand.request((1, "a", True))
    stand.request((2, "b", True), (3, "a", False))
    stand.upkeep.run()
    assert stand.history == [{"b": "loading"}, {"b": "loaded"}]
    assert stand.upkeep.carried_out == {"b": "2@0.000", "a": "3@0.000"}


def test_what_was_carried_out_is_not_repeated(stand: Stand) -> None:
    """All requests are received again whenever one is added, or Valkey was lost for a moment."""
    stand.request((1, "a", True))
    stand.upkeep.run()
    stand.models.unload("a")
    stand.request((1, "a", True))
    assert not stand.upkeep.is_due


def test_models_of_other_workers_are_left_alone(stand: Stand) -> None:
    stand.request((1, "elsewhere", True), (2, "gone", False))
    stand.upkeep.run()
    assert (stand.states(), [*stand.upkeep.carried_out]) == ({}, ["elsewhere", "gone"])


def test_a_load_that_a_worker_did_not_survive_is_not_repeated(stand: Stand) -> None:
    stand.request((1, "a", True), (2, "b", True))
    given_up = ModelRequest("a", 3, load=False, at=0.0, problem="A worker ended.")
    stand.upkeep.receive([given_up])
    stand.upkeep.run()
    assert stand.states() == {"b": "loaded"}
    stand.upkeep.receive([replace(given_up, model="b", number=4)])
    stand.upkeep.run()
    assert stand.states() == {"b": "loaded"}, "whoever has survived it keeps it"


def test_a_load_waits_until_it_may_begin(stand: Stand) -> None:
    stand.verdict = LoadVerdict.WAIT
    stand.request((1, "a", True), (2, "b", False))
    stand.upkeep.run()
    assert (stand.states(), [*stand.upkeep.carried_out], stand.upkeep.is_due) == ({}, ["b"], False)
    stand.seconds += AGAIN_SECONDS
    assert stand.upkeep.is_due
    stand.verdict = LoadVerdict.BEGIN
    stand.upkeep.run()
    assert (stand.states(), stand.ended) == ({"a": "loaded"}, [{"a": "loaded"}])


def test_a_load_that_is_no_longer_requested_is_not_begun(stand: Stand) -> None:
    stand.verdict = LoadVerdict.DROP
    stand.request((1, "a", True))
    stand.upkeep.run()
    assert (stand.states(), stand.ended, stand.upkeep.is_due) == ({}, [], False)


def test_numbers_that_begin_again_are_of_other_requests(stand: Stand) -> None:
    """Valkey has lost data."""
    stand.request((5, "a", False))
    stand.upkeep.run()
    stand.upkeep.receive([ModelRequest("a", 1, load=True, at=9.0)])
    stand.upkeep.run()
    assert stand.states() == {"a": "loaded"}
    stand.upkeep.receive([ModelRequest("a", 1, load=False, at=10.0)])
    stand.upkeep.run()
    assert stand.states() == {}


def test_a_model_that_fails_to_leave_counts_as_gone(stand: Stand) -> None:
    stand.request((1, "stuck", True))
    stand.upkeep.run()
    stand.request((2, "stuck", False))
    stand.upkeep.run()
    assert (stand.states(), stand.upkeep.carried_out) == ({}, {"stuck": "2@0.000"})
    stand.request((3, "stuck", True))
    stand.upkeep.run()
    stand.seconds += 10.0
    stand.upkeep.run()
    assert stand.states() == {}


@pytest.mark.parametrize(("model", "reason"), [("broken", "Its weights are damaged."), ("odd", UNEXPECTED)])
def test_a_failure_is_reported_and_lets_the_model_rest_in_the_end(
    stand: Stand, model: str, reason: str
) -> None:
    for number in range(1, MAX_FAILURES + 1):
        assert not stand.resting.reasons(SPECS.values())
        stand.request((number, model, True))
        stand.upkeep.run()
        load = stand.models.loads[model]
        assert (load.state, load.reason) == ("failed", reason)
    assert stand.resting.reasons(SPECS.values()) == {model: reason}
    stand.request((9, model, False))
    stand.upkeep.run()
    assert stand.states() == {}, "whoever unloads it has read why"


def test_a_load_that_succeeds_ends_the_rest(stand: Stand) -> None:
    for _ in range(MAX_FAILURES):
        stand.resting.note_failure(SPECS["a"], "It broke.")
    assert stand.resting.reasons(SPECS.values())
    stand.request((1, "a", True))
    stand.upkeep.run()
    assert not stand.resting.reasons(SPECS.values())


def test_a_worker_that_stops_begins_no_load(stand: Stand) -> None:
    stand.request((1, "a", True))
    stand.is_stopping = True
    stand.upkeep.run()
    assert stand.states() == {}


def test_a_model_without_jobs_sleeps(stand: Stand) -> None:
    stand.request((1, "a", True))
    stand.upkeep.run()
    stand.seconds = 10.0
    assert stand.upkeep.is_due
    stand.upkeep.run()
    assert stand.states() == {}
    assert not stand.upkeep.is_due
