"""Several models on one device: which stay, and which make room."""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.errors import GenerationFailed, OutOfMemory
from framegate.core.models import Defaults, ModelSpec
from framegate.core.types import Shot, Task
from framegate.worker.model_cache import ModelCache

DEVICE_BYTES = 100
held: dict[str, int] = {}
loads: list[str] = []


class Weights(Backend):
    """Holds ``options["size"]`` of the device's `DEVICE_BYTES`."""

    def load(self, device: str) -> None:
        size = int(self.options["size"])
        if sum(held.values()) + size > DEVICE_BYTES:
            raise OutOfMemory(f"{size} bytes are needed.")
        held[self.source] = size
        loads.append(self.source)

    def memory_needed(self, device: str) -> int:
        return int(self.options["size"])

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        raise AssertionError("nothing is made here")

    def unload(self) -> None:
        del held[self.source]


@pytest.fixture(autouse=True)
def empty_device() -> Iterator[None]:
    yield
    held.clear()
    loads.clear()


def models(budget: int = 0, **sizes: int) -> ModelCache:
    plain = ModelSpec(id="", summary="", backend="weights", tasks=frozenset(Task))
    specs = {
        name: replace(plain, id=name, source=name, options={"size": size}) for name, size in sizes.items()
    }
    return ModelCache(lambda: specs, "cpu", budget=budget)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_object(import_string: str) -> type[Backend]:
        return Weights

    monkeypatch.setattr("framegate.core.plugins.load_object", load_object)


def use(loaded: ModelCache, names: str) -> None:
    for name in names:
        loaded.get(name)


def test_models_stay_while_there_is_room() -> None:
    loaded = models(a=40, b=40)
    use(loaded, "abab")
    assert loads == ["a", "b"]


def test_the_least_recently_used_makes_room_where_memory_ends() -> None:
    loaded = models(a=40, b=40, c=40)
    use(loaded, "abac")
    assert set(held) == {"a", "c"}
    use(loaded, "b")
    assert set(held) == {"b", "c"}


def test_as_many_make_room_as_it_takes() -> None:
    loaded = models(a=40, b=40, whole=100)
    for name in ("a", "b", "whole"):
        loaded.get(name)
    assert held == {"whole": 100}


def test_a_budget_holds_below_what_there_is() -> None:
    loaded = models(budget=60, a=30, b=30, c=30)
    use(loaded, "abac")
    assert set(held) == {"a", "c"}
    assert loads == ["a", "b", "c"]


def test_a_model_beyond_the_budget_is_alone() -> None:
    loaded = models(budget=50, a=30, b=80)
    use(loaded, "ab")
    assert held == {"b": 80}
    use(loaded, "a")
    assert held == {"a": 30}


def test_what_fits_in_no_way_fails_and_the_others_load_again() -> None:
    loaded = models(a=40, b=200)
    use(loaded, "a")
    with pytest.raises(OutOfMemory, match="200 bytes are needed"):
        loaded.get("b")
    use(loaded, "a")
    assert loads == ["a", "a"]


def test_a_job_out_of_memory_gets_the_device_for_itself() -> None:
    loaded = models(a=20, b=20, c=20)
    use(loaded, "abc")
    loaded.unload_others("b")
    assert set(held) == {"b"}
    loaded.unload_all()
    assert held == {}


def test_a_model_that_has_gone_is_told() -> None:
    loaded: Any = models(a=1)
    with pytest.raises(GenerationFailed, match="b is not configured"):
        loaded.get("b")


def test_a_model_is_loaded_again_when_it_has_changed() -> None:
    plain = ModelSpec(id="m", summary="", backend="weights", tasks=frozenset(Task), options={"size": 10})
    specs = {"m": replace(plain, source="old")}
    loaded = ModelCache(lambda: specs, "cpu")
    first = loaded.get("m")
    assert loaded.get("m") is first
    assert loaded.is_loaded("m")
    specs["m"] = replace(plain, source="new")
    assert not loaded.is_loaded("m"), "loading it again would not count as loading"
    assert loaded.get("m").source == "new"
    assert loaded.is_loaded("m")
    assert set(held) == {"new"}, "the old one makes room first"


def test_what_concerns_requests_alone_loads_nothing_again() -> None:
    plain = ModelSpec(id="m", summary="", backend="weights", tasks=frozenset(Task), options={"size": 10})
    specs = {"m": plain}
    loaded = ModelCache(lambda: specs, "cpu")
    first = loaded.get("m")
    specs["m"] = replace(plain, summary="another", defaults=Defaults(num_frames=9))
    assert loaded.is_loaded("m")
    assert loaded.get("m") is first


def test_a_model_that_is_no_longer_served_makes_room_for_the_next_job() -> None:
    plain = ModelSpec(id="", summary="", backend="weights", tasks=frozenset(Task), options={"size": 10})
    specs = {name: replace(plain, id=name, source=name) for name in "ab"}
    loaded = ModelCache(lambda: specs, "cpu")
    use(loaded, "ab")
    del specs["a"]
    use(loaded, "b")
    assert set(held) == {"b"}


def test_a_model_that_is_not_used_for_long_is_overdue() -> None:
    now = [0.0]
    plain = ModelSpec(id="", summary="", backend="weights", tasks=frozenset(Task), options={"size": 1})
    specs = {
        name: replace(plain, id=name, source=name, unload_after=seconds)
        for name, seconds in (("never", 0.0), ("soon", 5.0), ("usual", None))
    }
    loaded = ModelCache(lambda: specs, "cpu", unload_after=60.0, now=lambda: now[0])
    assert not loaded.overdue()
    for name in specs:
        loaded.get(name)
    now[0] = 4.9
    assert not loaded.overdue()
    loaded.note_use("soon")  # its job has ended
    now[0] = 9.8
    assert not loaded.overdue()
    now[0] = 10.0
    assert loaded.overdue() == ["soon"]
    loaded.unload("soon")
    now[0] = 60.0
    assert loaded.overdue() == ["usual"]
    specs["usual"] = replace(specs["usual"], unload_after=100.0)  # the config was read again
    assert not loaded.overdue()


def test_nothing_is_overdue_by_default() -> None:
    loaded = models(a=40)
    loaded.get("a")
    assert not loaded.overdue()
