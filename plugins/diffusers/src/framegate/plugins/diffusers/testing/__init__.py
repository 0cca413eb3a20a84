"""Tiny models with random weights for every pipeline that Framegate runs; no download, no GPU.

The classes, the folder layout and the compression of sizes and frames are those of the real models, so the
same code loads and runs them, in tenths of a second; what they generate is noise. `save` writes one to a
folder::

    source = save("wan22_ti2v", tmp_path / "model")
    backend = Wan22Backend(str(source))

torch and diffusers are only imported when one is built.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

TINY_MODELS = {
    "wan21_t2v": "wan",
    "wan21_i2v": "wan",
    "wan21_flf2v": "wan",
    "wan22_ti2v": "wan",
    "wan22_a14b_t2v": "wan",
    "wan22_a14b_i2v": "wan",
    "ltx2": "ltx2",
    "ltx2_distilled": "ltx2",
    "ltx23": "ltx2",
    "latent_upsampler": "ltx2",
    "sdxl": "images",
    "qwen_image": "images",
    "flux_kontext": "images",
}
"""Their names, and the module here that builds each."""


def build(name: str) -> Any:
    """Return a pipeline (of "latent_upsampler", a model) on the CPU, in float32.

    The weights are the same every time.
    """
    module = import_module(f"{__name__}.{TINY_MODELS[name]}")
    builder: Callable[[], Any] = getattr(module, name)
    return builder()


def save(name: str, folder: Path) -> Path:
    """Write one in the hub's folder layout, and return ``folder``."""
    build(name).save_pretrained(folder)
    return folder


def save_lora(name: str, folder: Path, strength: float) -> Path:
    """Write a LoRA for the transformer (or the U-Net) of the pipeline ``name``, and return its file.

    With ``strength`` 0 it changes nothing.
    """
    import torch
    from peft import LoraConfig
    from peft.utils import save_and_load

    pipeline = build(name)
    which = "unet" if hasattr(pipeline, "unet") else "transformer"
    denoiser = getattr(pipeline, which)
    denoiser.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    random = torch.Generator().manual_seed(0)
    for weights_name, weights in denoiser.named_parameters():
        if "lora_B" in weights_name:
            weights.data = strength * torch.randn(weights.shape, generator=random)
    weights = save_and_load.get_peft_model_state_dict(denoiser)
    pipeline.save_lora_weights(str(folder), **{f"{which}_lora_layers": weights})
    return folder / "pytorch_lora_weights.safetensors"
