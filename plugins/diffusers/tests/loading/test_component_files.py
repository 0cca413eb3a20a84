"""Components from single files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType] # typed in part
    save_file,  # pyright: ignore[reportUnknownVariableType] # likewise
)

from framegate.core.errors import GenerationFailed
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from tests.support.gguf_files import original_names, write_gguf
from tests.support.tiny_models import AnyWanBackend, LoadTiny, TinyModel, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
def test_a_transformer_comes_from_a_single_file(
    load_wan: LoadTiny[AnyWanBackend], tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    folder = tiny_model("wan21_t2v")
    shot = small_shot(Task.TEXT_TO_VIDEO)
    expected = generate(load_wan("wan21_t2v"), shot, RecordingContext(tmp_path))
    [weights] = (folder / "transformer").glob("*.safetensors")
    tensors = original_names(load_file(weights))
    path = tmp_path / f"wan.{kind}"
    if kind == "safetensors":
        save_file({name: tensor * 1.0 for name, tensor in tensors.items()}, path)
    else:
        write_gguf(path, tensors)
    backend = load_wan("wan21_t2v", weights={"transformer": str(path)})
    frames = generate(backend, shot, RecordingContext(tmp_path))
    # A file's tensors lie elsewhere in memory, and the CPU then adds up in another order.
    assert np.abs(frames.astype(int) - expected).max() <= (1 if kind == "safetensors" else 16)
    if kind == "gguf":
        assert (frames != expected).any(), "eight bits are not exact"


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"tokenizer": "a.safetensors"}, "'tokenizer' can't be loaded from a file; .*transformer.* can"),
        ({"transformer": "/nowhere/a.safetensors"}, "no file 'a.safetensors'"),
        ({"transformer": "{tmp}/a.ckpt"}, "neither .safetensors nor .gguf"),
        ({"transformer": "{tmp}/a.safetensors"}, "a.safetensors does not fit WanTransformer3DModel"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, weights: dict[str, str], words: str
) -> None:
    (tmp_path / "a.ckpt").write_bytes(b"")
    save_file({"something": torch.ones(2)}, tmp_path / "a.safetensors")
    files = {name: file.replace("{tmp}", str(tmp_path)) for name, file in weights.items()}
    with pytest.raises(GenerationFailed, match=words) as caught:
        load_wan("wan21_t2v", weights=files)
    assert str(tmp_path) not in caught.value.message
