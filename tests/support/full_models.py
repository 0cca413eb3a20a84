"""Folders of the real models with the weights left out: configurations, and headers that say how large."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from framegate.core.models import Defaults, ModelSpec
from framegate.core.plugins import create_backend
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.images.models import IMAGE
from framegate.plugins.ltx2 import LTX2, TWO_STAGE
from framegate.plugins.wan21 import MODELS as WAN21
from framegate.plugins.wan22 import MODELS as WAN22

SPECS = {spec.id: spec for spec in (*WAN21, *WAN22, LTX2, TWO_STAGE, IMAGE)}


class FullModel(Struct, frozen=True, kw_only=True):
    """A published model.

    ``parameters`` are billions by component, ``configs`` what matters of each component's ``config.json``.
    """

    title: str
    spec: ModelSpec
    parameters: Mapping[str, float]
    configs: Mapping[str, dict[str, Any]]
    index: dict[str, Any] = {}
    options: dict[str, Any] = {}


# Counted from the classes on the meta device with their published configurations.
_UMT5 = {"text_encoder": {"architectures": ["UMT5EncoderModel"], "num_layers": 24, "d_model": 4096}}
_GEMMA = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": {"num_hidden_layers": 48, "hidden_size": 3840, "vocab_size": 262_208},
}
WAN21_VAE: dict[str, Any] = {"_class_name": "AutoencoderKLWan", "base_dim": 96, "z_dim": 16}
WAN22_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKLWan",
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "in_channels": 12,
    "out_channels": 12,
    "is_residual": True,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
}
LTX2_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKLLTX2Video",
    "decoder_block_out_channels": [256, 512, 1024],
    "spatial_compression_ratio": 32,
    "temporal_compression_ratio": 8,
}
KL_VAE: dict[str, Any] = {"_class_name": "AutoencoderKL", "block_out_channels": [128, 256, 512, 512]}


def wan(heads: int, hidden: int, channels: int = 16) -> dict[str, Any]:
    """Return a Wan transformer's configuration."""
    return {
        "_class_name": "WanTransformer3DModel",
        "num_attention_heads": heads,
        "attention_head_dim": 128,
        "ffn_dim": hidden,
        "in_channels": channels,
    }


LTX2_TRANSFORMER: dict[str, Any] = {
    "_class_name": "LTX2VideoTransformer3DModel",
    "num_attention_heads": 32,
    "attention_head_dim": 128,
}
_WAN14B = wan(40, 13824)
_WAN14B_I2V = wan(40, 13824, 36)
_LTX2_CONFIGS = {"transformer": LTX2_TRANSFORMER, "vae": LTX2_VAE, "text_encoder": _GEMMA}
_LTX2_PARAMETERS = {
    "transformer": 18.876,
    "text_encoder": 11.862,
    "connectors": 1.431,
    "vae": 1.222,
    "audio_vae": 0.053,
    "vocoder": 0.056,
}
_WAN21_I2V_PARAMETERS = {"transformer": 16.395, "text_encoder": 5.681, "image_encoder": 0.631, "vae": 0.127}
_A14B_PARAMETERS = {"transformer": 14.289, "transformer_2": 14.289, "text_encoder": 5.681, "vae": 0.127}


def _flux(name: str) -> dict[str, Any]:
    return {"_class_name": name, "num_attention_heads": 24, "attention_head_dim": 128}


FULL_MODELS = [
    FullModel(
        title="Wan2.1-T2V-1.3B",
        spec=SPECS["wan21-t2v"],
        parameters={"transformer": 1.419, "text_encoder": 5.681, "vae": 0.127},
        configs={"transformer": wan(12, 8960), "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(
        title="Wan2.1-T2V-14B",
        spec=SPECS["wan21-t2v"],
        parameters={"transformer": 14.288, "text_encoder": 5.681, "vae": 0.127},
        configs={"transformer": _WAN14B, "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(
        title="Wan2.1-I2V-14B-480P",
        spec=SPECS["wan21"],
        parameters=_WAN21_I2V_PARAMETERS,
        configs={"transformer": _WAN14B_I2V, "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(
        title="Wan2.1-I2V-14B-720P",
        spec=SPECS["wan21-720p"],
        parameters=_WAN21_I2V_PARAMETERS,
        configs={"transformer": _WAN14B_I2V, "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(
        title="Wan2.2-TI2V-5B",
        spec=SPECS["wan22"],
        parameters={"transformer": 5.0, "text_encoder": 5.681, "vae": 0.705},
        configs={"transformer": wan(24, 14336, 48), "vae": WAN22_VAE, **_UMT5},
        index={"expand_timesteps": True},
    ),
    FullModel(
        title="Wan2.2-T2V-A14B",
        spec=SPECS["wan22-t2v"],
        parameters=_A14B_PARAMETERS,
        configs={"transformer": _WAN14B, "transformer_2": _WAN14B, "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(
        title="Wan2.2-I2V-A14B",
        spec=SPECS["wan22-i2v"],
        parameters=_A14B_PARAMETERS,
        configs={"transformer": _WAN14B_I2V, "transformer_2": _WAN14B_I2V, "vae": WAN21_VAE, **_UMT5},
    ),
    FullModel(title="LTX-2", spec=SPECS["ltx2"], parameters=_LTX2_PARAMETERS, configs=_LTX2_CONFIGS),
    FullModel(
        title="LTX-2, its largest shot",
        spec=replace(LTX2, defaults=Defaults(width=1920, height=1088, num_frames=257).over(LTX2.defaults)),
        parameters=_LTX2_PARAMETERS,
        configs=_LTX2_CONFIGS,
    ),
    FullModel(
        title="LTX-2, two stages, distilled weights",
        spec=SPECS["ltx2-two-stage"],
        parameters={**_LTX2_PARAMETERS, "latent_upsampler": 0.499},
        configs=_LTX2_CONFIGS,
        options={"schedule": "distilled", "refine_lora": None},
    ),
    FullModel(
        title="LTX-2, two stages, full weights",
        spec=SPECS["ltx2-two-stage"],
        parameters={**_LTX2_PARAMETERS, "latent_upsampler": 0.499},
        configs=_LTX2_CONFIGS,
    ),
    FullModel(
        title="LTX-2.3",
        spec=SPECS["ltx2"],
        # Its name says 22 billion for everything but the text encoder.
        parameters={**_LTX2_PARAMETERS, "transformer": 18.989, "connectors": 1.7},
        configs=_LTX2_CONFIGS,
    ),
    FullModel(
        title="FLUX.1-dev",
        spec=SPECS["diffusers-image"],
        parameters={"transformer": 11.902, "text_encoder": 0.123, "text_encoder_2": 4.762, "vae": 0.084},
        configs={"transformer": _flux("FluxTransformer2DModel"), "vae": KL_VAE},
    ),
    FullModel(
        title="Qwen-Image",
        spec=SPECS["diffusers-image"],
        parameters={"transformer": 20.430, "text_encoder": 8.292, "vae": 0.127},
        configs={
            "transformer": _flux("QwenImageTransformer2DModel"),
            "vae": {"_class_name": "AutoencoderKLQwenImage", "base_dim": 96, "z_dim": 16},
            "text_encoder": {
                "architectures": ["Qwen2_5_VLForConditionalGeneration"],
                "num_hidden_layers": 28,
                "hidden_size": 3584,
                "vocab_size": 152_064,
            },
        },
    ),
    FullModel(
        title="Stable Diffusion XL",
        spec=SPECS["diffusers-image"],
        parameters={"unet": 2.567, "text_encoder": 0.123, "text_encoder_2": 0.695, "vae": 0.084},
        configs={
            "unet": {"_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280]},
            "vae": KL_VAE,
        },
    ),
]


def write_folder(model: FullModel, folder: Path) -> Path:
    """Write what can be known of ``model`` without its weights, and return ``folder``."""
    components = {name: ["diffusers", "Class"] for name in model.parameters if name != "latent_upsampler"}
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({**model.index, **components}))
    for component, billions in model.parameters.items():
        (folder / component).mkdir()
        config = model.configs.get(component, {})
        (folder / component / "config.json").write_text(json.dumps(config))
        header = json.dumps({"weight": {"dtype": "BF16", "shape": [round(billions * 1e9)]}}).encode()
        file = folder / component / "model.safetensors"
        file.write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


def backend_for(model: FullModel, folder: Path) -> DiffusersBackend:
    """Return the backend of ``model``, whose folder is written to ``folder``."""
    source = str(write_folder(model, folder))
    options = {**model.spec.options, **model.options}
    backend = create_backend(replace(model.spec, source=source, options=options))
    assert isinstance(backend, DiffusersBackend)
    return backend
