"""Wan's transformers as other tools store them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def original_names(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
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


def write_gguf(path: Path, tensors: "dict[str, torch.Tensor]") -> None:
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


def save_gguf(folder: Path, component: str, path: Path) -> Path:
    """Write a component of the tiny Wan model in ``folder`` as ``path``, and return that."""
    from safetensors.torch import (
        load_file,  # pyright: ignore[reportUnknownVariableType] # typed in part
    )

    [weights] = (folder / component).glob("*.safetensors")
    write_gguf(path, original_names(load_file(weights)))
    return path
