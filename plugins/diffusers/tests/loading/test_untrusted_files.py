"""Models and LoRAs that hold code instead of data, or as well as it."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.loading.loras import load_lora
from framegate.plugins.diffusers.options import Lora, Options
from tests.support.tiny_models import AnyWanBackend, TinyModel

pytestmark = pytest.mark.usefixtures("one_thread")


class Trap:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self._mark,)


@pytest.fixture
def model(tiny_model: TinyModel, tmp_path: Path) -> Path:
    """A copy of a tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model("wan21_t2v"), tmp_path / "model"))


def with_index(model: Path, **changes: Any) -> Path:
    path = model / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return model


def refused(model: Path, match: str, **options: Any) -> None:
    with pytest.raises(GenerationFailed, match=match) as caught:
        AnyWanBackend(str(model), options).load("cpu")
    assert str(model.parent) not in caught.value.message, "no path of the worker"


def test_pickled_weights_are_refused_with_the_way_out(model: Path) -> None:
    mark = model.parent / "mark"
    for file in (model / "text_encoder").glob("*.safetensors*"):
        file.unlink()
    (model / "text_encoder" / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(mark)))
    refused(model, r"'text_encoder' .* pickle \(\.bin\); .* Convert it once .*safe_serialization=True")
    assert not mark.exists()


def test_pickles_beside_safetensors_are_not_touched(model: Path) -> None:
    mark = model.parent / "mark"
    for name in ("pytorch_model.bin", "diffusion_pytorch_model.bin"):
        (model / "transformer" / name).write_bytes(pickle.dumps(Trap(mark)))
    backend = AnyWanBackend(str(model))
    backend.load("cpu")
    backend.unload()
    assert not mark.exists()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"vae": ["custom", "Vae"]}, "'vae' .* is a class of 'custom'. Only classes of diffusers"),
        ({"scheduler": ["os", "system"]}, "'scheduler' .* is a class of 'os'"),
        ({"_class_name": ["custom", "Pipeline"]}, "pipeline of its own in Python"),
    ],
)
def test_code_of_a_model_is_never_run(model: Path, changes: dict[str, Any], complaint: str) -> None:
    mark = model.parent / "mark"
    for folder in (model, model / "vae"):
        (folder / "custom.py").write_text(f"open({str(mark)!r}, 'w')\nclass Vae: ...\nclass Pipeline: ...\n")
    refused(with_index(model, **changes), complaint)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".pth"])
@pytest.mark.parametrize("named", ["file", "weight_name"])
def test_pickled_loras_are_refused(tmp_path: Path, suffix: str, named: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / f"lora{suffix}"
    torch.save(Trap(mark), file)
    lora = Lora(source=str(file)) if named == "file" else Lora(source=str(tmp_path), weight_name=file.name)
    with pytest.raises(GenerationFailed, match=rf"'lora\{suffix}' is not a .safetensors file; .* Convert it"):
        load_lora(object(), lora, "lora", Options())
    assert not mark.exists()


def test_a_pickle_by_another_name_is_refused(tmp_path: Path, model: Path) -> None:
    mark, file = tmp_path / "mark", tmp_path / "lora.safetensors"
    torch.save(Trap(mark), file)
    refused(model, "LoRA 'lora.safetensors' can't be loaded", loras=[{"source": str(file)}])
    for named in ("file.safetensors", "file.gguf"):
        weights = tmp_path / named
        torch.save(Trap(mark), weights)
        refused(model, r"file\.\w+", weights={"transformer": str(weights)})
    assert not mark.exists()


def test_what_the_hub_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(source: str, **options: Any) -> Path:
        asked.update(options, source=source)
        return tmp_path

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    fetch("someone/model", Options(revision="0123abcd"))
    assert asked["revision"] == "0123abcd"
    assert asked["use_safetensors"] is True
    assert asked["trust_remote_code"] is False


def test_a_lora_of_the_hub_may_be_pinned() -> None:
    asked: dict[str, Any] = {}

    class Pipeline:
        def load_lora_weights(self, location: str, **options: Any) -> None:
            asked.update(options, source=location)

        def get_list_adapters(self) -> dict[str, list[str]]:
            return {"transformer": ["lora"]}

    load_lora(Pipeline(), Lora(source="someone/lora", revision="0123abcd"), "lora", Options())
    assert asked["source"] == "someone/lora"
    assert asked["revision"] == "0123abcd"
    assert asked["use_safetensors"] is True


def test_repositories_without_safetensors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(source: str, **options: Any) -> Path:
        raise OSError("Could not find the necessary `safetensors` weights in someone/model")

    monkeypatch.setattr(DiffusionPipeline, "download", download)
    with pytest.raises(GenerationFailed, match=r"not in the safetensors format; .* Convert it once"):
        fetch("someone/model", Options())
