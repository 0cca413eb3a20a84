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
from tests.support.tiny_models import AnyWanBackend, LoadTiny, TinyModel, generate, small_shot

pytestmark = pytest.mark.usefixtures("one_thread")


def original_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """diffusers' names of Wan's transformer as its authors have them."""
    renamed = {
        "condition_embedder.time_embedder.linear_1": "time_embedding.0",
        "condition_embedder.time_embedder.linear_2": "time_embedding.2",
        "condition_embedder.text_embedder.linear_1": "text_embedding.0",
        "condition_embedder.text_embedder.linear_2": "text_embedding.2",
        "condition_embedder.time_proj": "time_projection.1",
        "attn1.to_out.0": "self_attn.o",
        "attn2.to_out.0": "cross_attn.o",
        "attn1.to_": "self_attn.",
        "attn2.to_": "cross_attn.",
        "attn1.": "self_attn.",
        "attn2.": "cross_attn.",
        "norm2": "norm3",
        "ffn.net.0.proj": "ffn.0",
        "ffn.net.2": "ffn.2",
        "proj_out": "head.head",
    }
    names: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        original = name
        for ours, theirs in renamed.items():
            original = original.replace(ours, theirs)
        if original == "scale_shift_table":
            original = "head.modulation"
        names[original.replace("scale_shift_table", "modulation")] = tensor
    return names


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


def write_gguf(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """In eight bits where a row has whole blocks of 32, as quantised models are."""
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    for name, tensor in tensors.items():
        values = tensor.float().numpy()
        if name.startswith("blocks.") and values.ndim == 2 and values.shape[1] % 32 == 0:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


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
