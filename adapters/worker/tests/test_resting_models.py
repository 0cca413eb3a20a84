"""When a model rests, and for how long."""

from msgspec.structs import replace

from framegate.core.models import ModelSpec
from framegate.core.types import Task
from framegate.worker.resting_models import MAX_FAILURES, RestingModels

SPEC = ModelSpec(
    id="wan", summary="A model", backend="nowhere:Backend", tasks=frozenset({Task.TEXT_TO_VIDEO})
)
OTHER = replace(SPEC, id="ltx")
SPECS = {"wan": SPEC, "ltx": OTHER}


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(models: RestingModels, times: int, spec: ModelSpec = SPEC) -> None:
    for _ in range(times):
        models.note_failure(spec, "It is damaged.")


def test_it_rests_after_failures_in_a_row() -> None:
    models = RestingModels(Clock())
    fail(models, MAX_FAILURES - 1)
    assert models.awake(SPECS) == SPECS
    models.note_success("wan")
    fail(models, MAX_FAILURES - 1)
    assert models.reasons(SPECS.values()) == {}
    fail(models, 1)
    assert models.reasons(SPECS.values()) == {"wan": "It is damaged."}
    assert models.awake(SPECS) == {"ltx": OTHER}


def test_each_rest_is_twice_as_long_after_one_trial() -> None:
    clock = Clock()
    models = RestingModels(clock)
    fail(models, MAX_FAILURES)
    for seconds in (60, 120, 240, 480, 900, 900):
        clock.now += seconds - 1
        assert models.reasons(SPECS.values())
        clock.now += 1
        assert models.awake(SPECS) == SPECS, "it is tried again"
        fail(models, 1)
    clock.now += 900
    models.note_success("wan")
    fail(models, MAX_FAILURES)
    clock.now += 60
    assert models.awake(SPECS) == SPECS, "a success ends the matter"


def test_another_configuration_is_another_model() -> None:
    models = RestingModels(Clock())
    fail(models, MAX_FAILURES)
    mended = {"wan": replace(SPEC, source="/elsewhere")}
    assert models.awake(mended) == mended
    fail(models, 1, mended["wan"])
    assert models.awake(mended) == mended
