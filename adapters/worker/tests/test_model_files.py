"""A worker says which files its models lack, before their first jobs do."""

from pathlib import Path

import pytest

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.models import ModelSpec
from framegate.core.plugins import missing_files
from framegate.core.types import Shot, Task
from framegate.worker.model_files import ModelFiles


class Looking(Backend):
    looks = 0

    def check_files(self) -> list[str]:
        type(self).looks += 1
        return list(super().check_files())

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        raise AssertionError("nothing is generated here")


class Broken(Looking):
    def check_files(self) -> list[str]:
        raise KeyError("file")


def spec(name: str, source: str, backend: type[Backend] = Looking) -> ModelSpec:
    return ModelSpec(
        id=name,
        summary="",
        backend=f"{__name__}:{backend.__name__}",
        tasks=frozenset(Task),
        source=source,
    )


def lacks(name: str) -> str:
    """Return the sentence about a model that lacks files, which names none of them."""
    return f"The model {name} lacks files on a worker's host; `framegate doctor` there says which."


def test_what_is_missing_is_said_until_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Looking, "looks", 0)
    weights = tmp_path / "weights"
    specs = {"a": spec("a", str(weights)), "hub": spec("hub", "org/model"), "none": spec("none", "")}
    files = ModelFiles(lambda: specs)
    assert files.find_missing() == files.find_missing() == [lacks("a")]
    weights.mkdir()
    assert files.find_missing() == files.find_missing() == []
    assert Looking.looks == 3 + 1 + 1, "what is complete is not looked at again"
    specs["hub"] = spec("hub", str(tmp_path / "moved"))
    assert files.find_missing() == [lacks("hub")]


def test_a_backend_that_cant_look() -> None:
    specs = {"a": spec("a", "", Broken), "b": spec("b", "")}
    assert ModelFiles(lambda: specs).find_missing() == [lacks("a")]
    assert missing_files(specs["a"]) == ["its files can't be checked: KeyError: 'file'"]
