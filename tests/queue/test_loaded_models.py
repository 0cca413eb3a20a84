"""Which backends a worker holds."""

from msgspec.structs import replace

from framegate.adapters.queue.models import LoadedModels
from framegate.core.backend import Backend, GenerationContext, Output
from framegate.core.models import ModelSpec
from framegate.core.types import Shot, Task


class Counting(Backend):
    unloaded = 0

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        raise NotImplementedError

    def unload(self) -> None:
        self.unloaded += 1


SPEC = ModelSpec(id="m", summary="", backend=f"{__name__}:Counting", tasks=frozenset(Task), source="old")


def test_a_model_is_loaded_again_when_it_has_changed() -> None:
    specs = {"m": SPEC}
    models = LoadedModels(lambda: specs, "cpu")
    first = models.get("m")
    assert models.get("m") is first
    specs["m"] = replace(SPEC, source="new")
    second = models.get("m")
    assert (second.source, second is first) == ("new", False)
    assert [getattr(backend, "unloaded", None) for backend in (first, second)] == [1, 0]
