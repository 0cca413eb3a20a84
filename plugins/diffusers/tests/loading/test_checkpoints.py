"""A model's files."""

import json
import struct
from pathlib import Path

import pytest

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.loading.checkpoints import fetch
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.model_folder import count_parameters
from tests.support.tiny_models import AnyWanBackend, TinyModel

pytestmark = pytest.mark.usefixtures("one_thread")


def header(parameters: int) -> bytes:
    entry = {"weight": {"dtype": "F32", "shape": [parameters, 2], "data_offsets": [0, 8 * parameters]}}
    text = json.dumps({"__metadata__": {"format": "pt"}, **entry}).encode()
    return struct.pack("<Q", len(text)) + text


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    for component, name, parameters in (
        ("transformer", "model-00001-of-00002.safetensors", 10),
        ("transformer", "model-00002-of-00002.safetensors", 5),
        ("transformer", "model.fp16-00001-of-00002.safetensors", 15),
        ("vae", "model.safetensors", 1),
    ):
        (tmp_path / component).mkdir(exist_ok=True)
        (tmp_path / component / name).write_bytes(header(parameters))
    assert count_parameters(tmp_path) == {"transformer": 30, "vae": 2}
    assert count_parameters(tmp_path, "fp16") == {"transformer": 30}
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(GenerationFailed, match=r"model\.safetensors can't be read"):
        count_parameters(tmp_path)


@pytest.mark.parametrize("source", ["/nowhere/model", "./model", "~/no-such-model"])
def test_a_folder_that_is_not_there_is_no_hub_id(source: str) -> None:
    with pytest.raises(GenerationFailed, match=r"There is no folder '(no-such-)?model'") as caught:
        fetch(source, Options())
    assert "nowhere" not in str(caught.value), "no path of the worker"


def test_a_folder_in_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="diffusers' layout"):
        fetch(str(tmp_path), Options())


def test_a_hub_id_that_was_never_fetched_needs_the_hub() -> None:
    with pytest.raises(GenerationFailed, match="not on this worker"):
        fetch("framegate/never-fetched", Options(offline=True))


def test_the_memory_that_a_model_needs_is_known_before(tiny_model: TinyModel) -> None:
    backend = AnyWanBackend(str(tiny_model("wan21_t2v")))
    needed = backend.memory_needed("cpu")
    backend.load("cpu")
    parts = backend.loaded_engine.pipeline
    held = sum(
        parameter.numel() * parameter.element_size()
        for module in (parts.transformer, parts.vae, parts.text_encoder)
        for parameter in module.parameters()
    )
    backend.unload()
    assert needed == pytest.approx(held, rel=0.02)
