"""Tiny Wan models: 2.1 (text, image, first and last image) and 2.2 (TI2V-5B, A14B)."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    UMT5Config,
    UMT5EncoderModel,
)

from framegate.plugins.diffusers.testing.tokenizers import t5_tokenizer

_TEXT_WIDTH = 32
_IMAGE_WIDTH = 16
_IMAGE_TOKENS = 17
"""Those of a 32×32 image in patches of 8, and one for the whole."""


def wan21_t2v() -> WanPipeline:
    """Build Wan2.1-T2V."""
    return WanPipeline(**_common(3.0), vae=_vae_8x(), transformer=_transformer(16, 16, seed=1))


def wan21_i2v() -> WanImageToVideoPipeline:
    """Build Wan2.1-I2V, with its image encoder."""
    return _with_clip(None)


def wan21_flf2v() -> WanImageToVideoPipeline:
    """Build Wan2.1-FLF2V, whose weights hold a place for the tokens of two images."""
    return _with_clip(2 * _IMAGE_TOKENS)


def wan22_ti2v() -> WanPipeline:
    """Build Wan2.2-TI2V-5B; the real repository also names WanPipeline."""
    return WanPipeline(
        **_common(5.0),
        vae=_vae_16x(),
        transformer=_transformer(48, 48, seed=1),
        expand_timesteps=True,
    )


def wan22_a14b_t2v() -> WanPipeline:
    """Build Wan2.2-T2V-A14B, with two transformers."""
    return WanPipeline(
        **_common(3.0),
        vae=_vae_8x(),
        transformer=_transformer(16, 16, seed=1),
        transformer_2=_transformer(16, 16, seed=2),
        boundary_ratio=0.875,
    )


def wan22_a14b_i2v() -> WanImageToVideoPipeline:
    """Build Wan2.2-I2V-A14B, with two transformers."""
    return WanImageToVideoPipeline(
        **_common(3.0),
        vae=_vae_8x(),
        transformer=_transformer(36, 16, seed=1),
        transformer_2=_transformer(36, 16, seed=2),
        boundary_ratio=0.9,
    )


def _with_clip(image_places: int | None) -> WanImageToVideoPipeline:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=_IMAGE_WIDTH,
        projection_dim=_IMAGE_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        intermediate_size=16,
        patch_size=8,
    )
    return WanImageToVideoPipeline(
        **_common(3.0),
        vae=_vae_8x(),
        image_encoder=CLIPVisionModel(vision).eval(),
        image_processor=CLIPImageProcessor(crop_size={"height": 32, "width": 32}, size={"shortest_edge": 32}),
        transformer=_transformer(36, 16, seed=1, image_places=image_places, sees_images=True),
    )


def _common(shift: float) -> dict[str, Any]:
    """Build what all have: tokenizer, text encoder and scheduler."""
    tokenizer = t5_tokenizer()
    torch.manual_seed(0)
    config = UMT5Config(
        vocab_size=len(tokenizer),
        d_model=_TEXT_WIDTH,
        d_kv=8,
        d_ff=37,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        is_encoder_decoder=True,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    return {
        "tokenizer": tokenizer,
        "text_encoder": UMT5EncoderModel(config).eval(),
        "scheduler": UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift, solver_order=2
        ),
    }


def _transformer(
    channels: int, out_channels: int, *, seed: int, image_places: int | None = None, sees_images: bool = False
) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    heads, head_width = 2, 12
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=heads,
        attention_head_dim=head_width,
        in_channels=channels,
        out_channels=out_channels,
        text_dim=_TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=32,
        num_layers=2,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        image_dim=_IMAGE_WIDTH if sees_images else None,
        added_kv_proj_dim=heads * head_width if sees_images else None,
        pos_embed_seq_len=image_places,
    )
    return model.eval()


def _vae_8x() -> AutoencoderKLWan:
    """Build that of Wan2.1 and A14B: 8 times smaller width and height, 4 times fewer frames."""
    torch.manual_seed(0)
    model = AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    return model.eval()


def _vae_16x() -> AutoencoderKLWan:
    """Build that of TI2V-5B: 16 times smaller width and height, 4 times fewer frames."""
    torch.manual_seed(0)
    model = AutoencoderKLWan(
        base_dim=3,
        z_dim=48,
        in_channels=12,
        out_channels=12,
        is_residual=True,
        patch_size=2,
        latents_mean=[0.0] * 48,
        latents_std=[1.0] * 48,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        scale_factor_spatial=16,
        scale_factor_temporal=4,
        temperal_downsample=[False, True, True],
    )
    return model.eval()
