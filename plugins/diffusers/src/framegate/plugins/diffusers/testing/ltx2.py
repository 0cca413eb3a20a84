"""Tiny LTX-2 models: video and audio in one transformer, and the upsampler for a second stage."""

from typing import Any

import torch
from diffusers import (
    AutoencoderKLLTX2Audio,
    AutoencoderKLLTX2Video,
    FlowMatchEulerDiscreteScheduler,
    LTX2Pipeline,
    LTX2VideoTransformer3DModel,
)
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

from framegate.plugins.diffusers.testing.tokenizers import gemma_tokenizer

AUDIO_RATE = 24_000
"""Samples per second of `ltx2`."""
AUDIO_RATE_23 = 48_000
"""Samples per second of `ltx23`."""
_TEXT_WIDTH, _TEXT_LAYERS = 16, 2
_WIDTH, _AUDIO_WIDTH = 16, 8
_LATENT_CHANNELS = 4


def ltx2() -> LTX2Pipeline:
    """Build LTX-2.0: audio at 24 kHz."""
    return _pipeline(newer=False, distilled=False)


def ltx2_distilled() -> LTX2Pipeline:
    """Build LTX-2.0 with the scheduler that comes with the distilled weights."""
    return _pipeline(newer=False, distilled=True)


def ltx23() -> LTX2Pipeline:
    """Build LTX-2.3: gated attention, a projection each for video and audio, audio at 48 kHz."""
    return _pipeline(newer=True, distilled=False)


def latent_upsampler() -> LTX2LatentUpsamplerModel:
    """Build the upsampler, which is in the folder ``latent_upsampler`` of the real repository."""
    torch.manual_seed(0)
    return LTX2LatentUpsamplerModel(
        in_channels=_LATENT_CHANNELS, mid_channels=32, num_blocks_per_stage=1, use_rational_resampler=True
    ).eval()


def _pipeline(*, newer: bool, distilled: bool) -> LTX2Pipeline:
    tokenizer = gemma_tokenizer()
    schedule: dict[str, Any] = {
        "use_dynamic_shifting": not distilled,
        "base_shift": 0.95,
        "max_shift": 2.05,
        "base_image_seq_len": 1024,
        "max_image_seq_len": 4096,
        "shift_terminal": None if distilled else 0.1,
    }
    return LTX2Pipeline(
        tokenizer=tokenizer,
        text_encoder=_text_encoder(len(tokenizer)),
        connectors=_connectors(newer=newer),
        transformer=_transformer(newer=newer),
        scheduler=FlowMatchEulerDiscreteScheduler(**schedule),
        vae=_vae(newer=newer),
        audio_vae=_audio_vae(),
        vocoder=_vocoder_with_bandwidth_extension() if newer else _vocoder(),
    )


def _text_encoder(vocabulary: int) -> Gemma3ForConditionalGeneration:
    torch.manual_seed(0)
    config = Gemma3Config(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": _TEXT_WIDTH,
            "intermediate_size": 16,
            "num_hidden_layers": _TEXT_LAYERS,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "max_position_embeddings": 2048,
            "sliding_window": 64,
            "query_pre_attn_scalar": 8,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        mm_tokens_per_image=4,
        boi_token_index=5,
        eoi_token_index=6,
        image_token_index=7,
    )
    return Gemma3ForConditionalGeneration(config).eval()


def _connectors(*, newer: bool) -> LTX2TextConnectors:
    torch.manual_seed(0)
    model = LTX2TextConnectors(
        caption_channels=_TEXT_WIDTH,
        text_proj_in_factor=_TEXT_LAYERS + 1,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=8,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=4 if newer else 8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8,
        video_gated_attn=newer,
        audio_gated_attn=newer,
        connector_rope_base_seq_len=32,
        rope_type="split",
        per_modality_projections=newer,
        video_hidden_dim=_WIDTH,
        audio_hidden_dim=_AUDIO_WIDTH,
        proj_bias=newer,
    )
    return model.eval()


def _transformer(*, newer: bool) -> LTX2VideoTransformer3DModel:
    torch.manual_seed(1)
    model = LTX2VideoTransformer3DModel(
        in_channels=_LATENT_CHANNELS,
        out_channels=_LATENT_CHANNELS,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=2,
        attention_head_dim=_WIDTH // 2,
        cross_attention_dim=_WIDTH,
        audio_in_channels=8,
        audio_out_channels=8,
        audio_num_attention_heads=2,
        audio_attention_head_dim=_AUDIO_WIDTH // 2,
        audio_cross_attention_dim=_AUDIO_WIDTH,
        num_layers=2,
        qk_norm="rms_norm_across_heads",
        caption_channels=_TEXT_WIDTH,
        rope_double_precision=True,
        rope_type="split",
        gated_attn=newer,
        cross_attn_mod=newer,
        audio_gated_attn=newer,
        audio_cross_attn_mod=newer,
        use_prompt_embeddings=not newer,
        perturbed_attn=newer,
    )
    return model.eval()


def _vae(*, newer: bool) -> AutoencoderKLLTX2Video:
    """Build one that makes width and height 32 times smaller, frames 8 times fewer."""
    torch.manual_seed(0)
    narrow, middle, wide = 8, 16, 32
    decoder: dict[str, Any] = {
        "decoder_block_out_channels": (narrow, middle, wide),
        "decoder_layers_per_block": (1,) * 4,
        "decoder_spatio_temporal_scaling": (True,) * 3,
        "decoder_inject_noise": (False,) * 4,
        "upsample_residual": (True,) * 3,
        "upsample_type": ("spatiotemporal",) * 3,
        "upsample_factor": (2, 2, 2),
    }
    if newer:
        decoder = {
            "decoder_block_out_channels": (narrow, middle, middle, wide),
            "decoder_layers_per_block": (1,) * 5,
            "decoder_spatio_temporal_scaling": (True,) * 4,
            "decoder_inject_noise": (False,) * 5,
            "upsample_residual": (False,) * 4,
            "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
            "upsample_factor": (2, 2, 1, 2),
        }
    model = AutoencoderKLLTX2Video(
        in_channels=3,
        out_channels=3,
        latent_channels=_LATENT_CHANNELS,
        timestep_conditioning=False,
        patch_size=4,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
        down_block_types=("LTX2VideoDownBlock3D",) * 4,
        spatio_temporal_scaling=(True,) * 4,
        downsample_type=("spatial", "temporal", "spatiotemporal", "spatiotemporal"),
        block_out_channels=(narrow, narrow, middle, middle),
        layers_per_block=(1,) * 5,
        **decoder,
    )
    return model.eval()


def _audio_vae() -> AutoencoderKLLTX2Audio:
    """Build one with 4 times fewer steps in time and pitch.

    ``base_channels`` has to be channels × pitches of a latent.
    """
    torch.manual_seed(0)
    model = AutoencoderKLLTX2Audio(
        base_channels=8,
        output_channels=2,
        ch_mult=(1, 2, 4),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=64,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        dropout=0.0,
        mid_block_add_attention=False,
        sample_rate=16000,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=16,
        double_z=True,
    )
    return model.eval()


def _vocoder() -> LTX2Vocoder:
    torch.manual_seed(0)
    model = LTX2Vocoder(
        in_channels=32,
        hidden_channels=32,
        out_channels=2,
        upsample_kernel_sizes=[16, 15, 8, 4, 4],
        upsample_factors=[6, 5, 2, 2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=AUDIO_RATE,
    )
    return model.eval()


def _vocoder_with_bandwidth_extension() -> LTX2VocoderWithBWE:
    """Build one of 16 kHz, which a second network raises to 48."""
    torch.manual_seed(0)
    model = LTX2VocoderWithBWE(
        in_channels=32,
        hidden_channels=64,
        upsample_kernel_sizes=[11, 4, 4, 4, 4, 4],
        upsample_factors=[5, 2, 2, 2, 2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        bwe_in_channels=32,
        bwe_hidden_channels=32,
        bwe_upsample_kernel_sizes=[12, 11, 4, 4, 4],
        bwe_upsample_factors=[6, 5, 2, 2, 2],
        bwe_resnet_kernel_sizes=[3],
        bwe_resnet_dilations=[[1, 3, 5]],
        filter_length=64,
        window_length=64,
        hop_length=80,
        num_mel_channels=16,
        output_sampling_rate=AUDIO_RATE_23,
    )
    return model.eval()
