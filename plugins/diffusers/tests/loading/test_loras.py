"""Merged LoRAs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.quantizers.gguf.utils import GGUFLinear
from safetensors.torch import (
    save_file,  # pyright: ignore[reportUnknownVariableType] # likewise
)

from framegate.core.errors import GenerationFailed
from framegate.core.testing import RecordingContext
from framegate.core.types import Task
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.images.backend import ImagesBackend
from framegate.plugins.wan22 import MODELS
from tests.support.gguf_files import save_gguf
from tests.support.tiny_models import (
    IMAGE_SHOT,
    AnyWanBackend,
    Calls,
    LoadTiny,
    TinyModel,
    generate,
    small_shot,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def lightx2v_lora(folder: Path, transformer: Any) -> Path:
    """A LoRA of rank 2 in the names that lightx2v gives, over attentions and feed-forward nets."""
    random = torch.Generator().manual_seed(3)
    width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    tensors: dict[str, torch.Tensor] = {}
    for number in range(transformer.config.num_layers):
        for layer in (
            "self_attn.q",
            "self_attn.k",
            "self_attn.v",
            "self_attn.o",
            "cross_attn.q",
            "cross_attn.k",
        ):
            name = f"diffusion_model.blocks.{number}.{layer}"
            tensors[f"{name}.lora_down.weight"] = torch.randn((2, width), generator=random)
            tensors[f"{name}.lora_up.weight"] = torch.randn((width, 2), generator=random)
        name = f"diffusion_model.blocks.{number}.ffn.2"
        tensors[f"{name}.lora_down.weight"] = torch.randn((2, transformer.config.ffn_dim), generator=random)
        tensors[f"{name}.lora_up.weight"] = torch.randn((width, 2), generator=random)
    path = folder / "lightx2v.safetensors"
    save_file(tensors, path)
    return path


def test_a_lora_in_other_tools_names_is_merged(
    load_wan: LoadTiny[AnyWanBackend], tiny_model: TinyModel, tmp_path: Path
) -> None:
    transformer = WanTransformer3DModel.from_pretrained(
        str(tiny_model("wan22_a14b_t2v")), subfolder="transformer"
    )
    lora = str(lightx2v_lora(tmp_path, transformer))
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4)

    def with_loras(*loras: dict[str, Any]) -> Any:
        backend = load_wan("wan22_a14b_t2v", loras=list(loras))
        assert not any(
            "lora" in name for name, _ in backend.loaded_engine.pipeline.transformer.named_modules()
        ), "merged"
        return generate(backend, shot, RecordingContext(tmp_path))

    plain = with_loras()
    first, second = {"source": lora}, {"source": lora, "component": "transformer_2"}
    assert np.array_equal(with_loras({**first, "strength": 0.0}), plain)
    assert (with_loras(first) != plain).any()
    assert (with_loras(second) != plain).any()
    assert (with_loras(first) != with_loras(first, second)).any()


def test_gguf_weights_keep_their_loras_beside_them(
    load_wan: LoadTiny[AnyWanBackend], tiny_model: TinyModel, tmp_path: Path
) -> None:
    """One transformer is quantised, the other not: its LoRA is merged as ever."""
    folder = tiny_model("wan22_a14b_t2v")
    transformer = WanTransformer3DModel.from_pretrained(str(folder), subfolder="transformer")
    lora = str(lightx2v_lora(tmp_path, transformer))
    both = [{"source": lora, "component": "transformer_2"}, {"source": lora, "strength": 0.5}]
    weights = {"transformer": str(save_gguf(folder, "transformer", tmp_path / "high.gguf"))}
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4)

    def frames(**options: Any) -> tuple[Any, Any]:
        backend = load_wan("wan22_a14b_t2v", flow_shift=12.0, **options)
        return backend.loaded_engine.pipeline, generate(backend, shot, RecordingContext(tmp_path)).astype(int)

    merged = frames(loras=both)[1]
    pipeline, beside = frames(loras=both, weights=weights)
    assert np.abs(beside - merged).max() <= 16, "eight bits are not exact"
    assert np.abs(beside - frames(weights=weights)[1]).max() > 16
    assert not any("lora" in name for name, _ in pipeline.transformer_2.named_modules())
    layer = pipeline.transformer.blocks[0].ffn.net[2]
    assert isinstance(layer.base_layer, GGUFLinear)
    assert layer.scaling["lora_1"] == 0.5


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_distilled_preset_runs_on_gguf_weights(
    load_wan: LoadTiny[AnyWanBackend], tiny_model: TinyModel, tmp_path: Path, dtype: str
) -> None:
    """As on a card of 24 GB; off CUDA, offloading changes nothing."""
    folder = tiny_model("wan22_a14b_t2v")
    [spec] = (spec for spec in MODELS if spec.id == "wan22-t2v")
    options = spec.with_preset("distilled-4step").options
    loras = [dict(lora) for lora in options["loras"]]
    for lora in loras:
        transformer = WanTransformer3DModel.from_pretrained(str(folder), subfolder=lora["component"])
        file = tmp_path / lora["weight_name"]
        file.parent.mkdir(exist_ok=True)
        lightx2v_lora(tmp_path, transformer).rename(file)
        lora["source"] = str(tmp_path)
    weights = {
        name: str(save_gguf(folder, name, tmp_path / f"{name}.gguf"))
        for name in ("transformer", "transformer_2")
    }
    given = {**options, "loras": loras, "weights": weights, "offload": "group", "dtype": dtype}
    backend = load_wan("wan22_a14b_t2v", **given)
    pipeline = backend.loaded_engine.pipeline
    shot = small_shot(Task.TEXT_TO_VIDEO, num_inference_steps=4, guidance_scale=1.0)
    with Calls(pipeline.transformer) as high, Calls(pipeline.transformer_2) as low:
        frames = generate(backend, shot, RecordingContext(tmp_path))
    assert (high.count, low.count) == (2, 2)
    assert frames.std() > 1
    for model in (pipeline.transformer, pipeline.transformer_2):
        layer = model.blocks[0].ffn.net[2]
        assert layer.active_adapters == list(layer.lora_A)
        assert {weight.dtype for weight in (*layer.lora_A.parameters(), *layer.lora_B.parameters())} == {
            getattr(torch, dtype)
        }


@pytest.mark.parametrize("wrong", ["missing", "of another model"])
def test_a_lora_that_does_not_belong_is_refused(
    load_wan: LoadTiny[AnyWanBackend], tmp_path: Path, wrong: str
) -> None:
    path = tmp_path / "wrong.safetensors"
    if wrong == "of another model":
        save_file(
            {
                "unet.mid_block.lora_A.weight": torch.ones(2, 2),
                "unet.mid_block.lora_B.weight": torch.ones(2, 2),
            },
            path,
        )
    with pytest.raises(GenerationFailed, match=r"LoRA 'wrong\.safetensors'") as caught:
        load_wan("wan21_t2v", loras=[{"source": str(path)}])
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(("name", "component"), [("sdxl", "unet"), ("qwen_image", "transformer")])
def test_loras_are_merged(
    load_images: LoadTiny[ImagesBackend], tmp_path: Path, name: str, component: str
) -> None:
    lora = testing.save_lora(name, tmp_path, 5.0)
    context = RecordingContext(tmp_path)
    plain = generate(load_images(name), IMAGE_SHOT, context)
    merged = load_images(name, loras=[{"source": str(lora), "component": component}])
    assert not np.array_equal(plain, generate(merged, IMAGE_SHOT, context))
