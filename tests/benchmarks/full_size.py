"""The real models' architectures with random weights, made on the device.

They measure speed without a download, as it doesn't depend on the weights' values.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    AutoencoderKLWan,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    UMT5Config,
    UMT5EncoderModel,
)

from framegate.plugins.diffusers.testing.tokenizers import gemma_tokenizer, t5_tokenizer

_SWITCHES = ("boundary_ratio", "expand_timesteps")


def wan21_t2v(layers: int = 40, text_layers: int = 24) -> WanPipeline:
    """Build Wan2.1-T2V-14B; fewer ``layers`` of the transformer and the text encoder leave their width."""
    return WanPipeline(**_wan_common(3.0, text_layers), vae=wan21_vae(), transformer=_wan_14b(16, layers))


def wan22_ti2v(layers: int = 30, text_layers: int = 24) -> WanPipeline:
    """Build Wan2.2-TI2V-5B."""
    return WanPipeline(
        **_wan_common(5.0, text_layers),
        vae=wan22_vae(),
        transformer=WanTransformer3DModel(
            num_attention_heads=24, in_channels=48, out_channels=48, ffn_dim=14336, num_layers=layers
        ).eval(),
        expand_timesteps=True,
    )


def wan22_a14b_t2v(layers: int = 40, text_layers: int = 24) -> WanPipeline:
    """Build Wan2.2-T2V-A14B, with two transformers."""
    return WanPipeline(
        **_wan_common(3.0, text_layers),
        vae=wan21_vae(),
        transformer=_wan_14b(16, layers),
        transformer_2=_wan_14b(16, layers),
        boundary_ratio=0.875,
    )


def ltx2(layers: int = 48, text_layers: int = 48) -> LTX2Pipeline:
    """Build LTX-2.0, 19 billion parameters."""
    text = {
        "vocab_size": 262_208,
        "hidden_size": 3840,
        "intermediate_size": 15_360,
        "num_hidden_layers": text_layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "sliding_window": 1024,
        "query_pre_attn_scalar": 256,
        "max_position_embeddings": 131_072,
    }
    return LTX2Pipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=_in_bfloat16(Gemma3ForConditionalGeneration, Gemma3Config(text_config=text)),
        connectors=LTX2TextConnectors(rope_type="split", text_proj_in_factor=text_layers + 1).eval(),
        vae=ltx2_vae(),
        audio_vae=AutoencoderKLLTX2Audio().eval(),
        vocoder=LTX2Vocoder().eval(),
        scheduler=_flow_match(),
        transformer=LTX2VideoTransformer3DModel(rope_type="split", num_layers=layers).eval(),
    )


def wan21_vae() -> AutoencoderKLWan:
    """Build that of Wan2.1 and A14B."""
    return AutoencoderKLWan().eval()


def wan22_vae() -> AutoencoderKLWan:
    """Build that of TI2V-5B."""
    return AutoencoderKLWan(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
    ).eval()


def ltx2_vae() -> AutoencoderKLLTX2Video:
    """Build that of LTX-2.0."""
    return AutoencoderKLLTX2Video(
        decoder_causal=False, spatial_compression_ratio=32, temporal_compression_ratio=8
    ).eval()


def save_configs(build: Callable[[], Any], folder: Path) -> Path:
    """Write a model's folder in the hub's layout without the weights, and return ``folder``."""
    with torch.device("meta"):
        pipeline = build()
    pipeline.save_config(folder)
    for name, part in pipeline.components.items():
        if hasattr(part, "save_config"):  # of diffusers: models, and the scheduler
            part.save_config(folder / name)
        elif hasattr(part, "config"):  # of transformers
            part.config.save_pretrained(folder / name)
    return folder


@contextmanager
def loading(pipeline: Any) -> Generator[None]:
    """Make every pipeline's ``from_pretrained`` return ``pipeline``, or its class over these components."""

    def loaded(pipeline_class: type[Any], folder: str, /, **named: object) -> Any:
        if type(pipeline) is pipeline_class:
            return pipeline
        switches = {name: pipeline.config[name] for name in _SWITCHES if name in pipeline.config}
        return pipeline_class(**pipeline.components, **switches)

    with patch.object(DiffusionPipeline, "from_pretrained", classmethod(loaded)):
        yield


def on_device(build: Callable[[], Any], device: torch.device, dtypes: dict[str, torch.dtype]) -> Any:
    """Return what ``build`` builds, on ``device``.

    Each component has its dtype, those not named have that of "default".
    """
    with torch.device(device):
        pipeline = build()
    for name, part in pipeline.components.items():
        if isinstance(part, torch.nn.Module):
            _cast(part, dtypes.get(name, dtypes["default"]))
    return pipeline


def _cast(model: Any, dtype: torch.dtype) -> None:
    """Cast as ``from_pretrained`` does: what a model keeps in float32 stays in it."""
    precise = set(getattr(model, "_keep_in_fp32_modules", None) or ())
    for name, parameter in model.named_parameters():
        if not precise & set(name.split(".")):
            parameter.data = parameter.data.to(dtype)
    for name, buffer in model.named_buffers():
        if buffer.is_floating_point() and not precise & set(name.split(".")):
            buffer.data = buffer.data.to(dtype)


def _wan_common(shift: float, text_layers: int) -> dict[str, Any]:
    """Build what all Wan models have: tokenizer, text encoder and scheduler."""
    return {"tokenizer": t5_tokenizer(), "text_encoder": _umt5_xxl(text_layers), "scheduler": _unipc(shift)}


def _wan_14b(channels: int, layers: int) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=40, in_channels=channels, out_channels=16, ffn_dim=13824, num_layers=layers
    ).eval()


def _umt5_xxl(layers: int) -> Any:
    return _in_bfloat16(
        UMT5EncoderModel,
        UMT5Config(
            vocab_size=256_384,
            d_model=4096,
            d_kv=64,
            d_ff=10_240,
            num_layers=layers,
            num_heads=64,
            feed_forward_proj="gated-gelu",
        ),
    )


def _in_bfloat16(model_class: type[Any], config: Any) -> Any:
    """Build a text encoder in half the bytes; in float32 it would not fit beside the transformer."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        return model_class(config).eval()
    finally:
        torch.set_default_dtype(before)


def _unipc(shift: float) -> UniPCMultistepScheduler:
    with torch.device("cpu"):  # where schedulers keep their noise levels
        return UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
        )


def _flow_match() -> FlowMatchEulerDiscreteScheduler:
    with torch.device("cpu"):
        return FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.95,
            max_shift=2.05,
            base_image_seq_len=1024,
            max_image_seq_len=4096,
            shift_terminal=0.1,
        )
