"""The formulas for activations, beside what the real architectures take when fake tensors go through them.

Two layers stand for all, as a layer frees what it made; the weights are not counted.
"""

from itertools import islice
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLLTX2Video,
    AutoencoderKLQwenImage,
    AutoencoderKLWan,
    FluxTransformer2DModel,
    LTX2VideoTransformer3DModel,
    QwenImageTransformer2DModel,
    WanTransformer3DModel,
)

from framegate.core.types import ShotSize
from framegate.plugins.diffusers.planning.activations import (
    Architecture,
    attention_tokens,
    decoding_bytes,
    denoising_bytes,
    estimate,
)
from framegate.plugins.diffusers.wan.decoding import decode_chunks
from tests.support.fake_memory import measure
from tests.support.full_models import KL_VAE, LTX2_TRANSFORMER, LTX2_VAE, WAN21_VAE, WAN22_VAE, wan

BF16, FP32 = torch.bfloat16, torch.float32
GIB = 2**30
WAN_720P, WAN_480P, TI2V = (1280, 720), (832, 480), (1280, 704)


def assert_close_above(estimated: int, measured: int) -> None:
    assert measured <= estimated <= 1.1 * measured, (
        f"{estimated / GIB:.2f}, measured {measured / GIB:.2f} GiB"
    )


def tensor(*shape: int, dtype: torch.dtype = BF16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("config", "size", "frames", "gib"),
    [
        (wan(12, 8960), WAN_480P, 81, 1.5),
        (wan(40, 13824, 36), WAN_720P, 81, 8.0),
        (wan(24, 14336, 48), (2048, 2048), 121, 23.7),
    ],
)
def test_wan_denoising(config: dict[str, Any], size: tuple[int, int], frames: int, gib: float) -> None:
    ti2v = config["in_channels"] == 48
    vae = WAN22_VAE if ti2v else WAN21_VAE
    ratio = 16 if ti2v else 8
    latents = (frames - 1) // 4 + 1, size[1] // ratio, size[0] // ratio
    tokens = latents[0] * latents[1] * latents[2] // 4
    images = config["in_channels"] == 36
    more: dict[str, Any] = {"image_dim": 1280, "added_kv_proj_dim": config["num_attention_heads"] * 128}
    plain = {name: value for name, value in config.items() if not name.startswith("_")}
    plain["out_channels"] = vae["z_dim"]

    def run(model: Any) -> None:
        model(
            hidden_states=tensor(1, config["in_channels"], *latents),
            timestep=torch.empty((1, tokens) if ti2v else (1,)),
            encoder_hidden_states=tensor(1, 512, 4096),
            encoder_hidden_states_image=tensor(1, 257, 1280) if images else None,
            return_dict=False,
        )

    def build() -> WanTransformer3DModel:
        return WanTransformer3DModel(**plain, **(more if images else {}), num_layers=2)

    measured = measure(build, BF16, run)
    assert measured / GIB == pytest.approx(gib, abs=0.06)
    index = {"expand_timesteps": ti2v}
    assert_close_above(denoising_bytes(index, config, vae, ShotSize(*size, frames), 1), measured)


@pytest.mark.parametrize(
    ("size", "frames", "batch", "newer", "gib"),
    [
        ((1024, 576), 121, 2, False, 2.6),
        ((1024, 576), 121, 1, False, 1.3),
        ((1920, 1088), 257, 2, True, 18.6),
    ],
)
def test_ltx2_denoising(size: tuple[int, int], frames: int, batch: int, newer: bool, gib: float) -> None:
    latents = (frames - 1) // 8 + 1, size[1] // 32, size[0] // 32
    sounds = 126 if frames == 121 else 268
    widths = (4096, 2048) if newer else (3840, 3840)
    flags = ("gated_attn", "cross_attn_mod", "audio_gated_attn", "audio_cross_attn_mod", "perturbed_attn")

    def run(model: Any) -> None:
        model(
            hidden_states=tensor(batch, latents[0] * latents[1] * latents[2], 128),
            audio_hidden_states=tensor(batch, sounds, 128),
            encoder_hidden_states=tensor(batch, 1024, widths[0]),
            audio_encoder_hidden_states=tensor(batch, 1024, widths[1]),
            timestep=torch.empty((batch,)),
            sigma=torch.empty((batch,)),
            num_frames=latents[0],
            height=latents[1],
            width=latents[2],
            fps=24.0,
            audio_num_frames=sounds,
            return_dict=False,
        )

    def build() -> LTX2VideoTransformer3DModel:
        more: dict[str, Any] = dict.fromkeys(flags, newer)
        return LTX2VideoTransformer3DModel(
            rope_type="split", num_layers=2, use_prompt_embeddings=not newer, **more
        )

    measured = measure(build, BF16, run)
    assert measured / GIB == pytest.approx(gib, abs=0.06)
    assert_close_above(
        denoising_bytes({}, LTX2_TRANSFORMER, LTX2_VAE, ShotSize(*size, frames), batch), measured
    )


@pytest.mark.parametrize(
    ("config", "size", "frames", "dtype", "gib"),
    [
        (WAN21_VAE, WAN_720P, 81, FP32, 16.8),
        (WAN21_VAE, WAN_720P, 81, BF16, 8.7),
        (WAN22_VAE, TI2V, 121, FP32, 18.1),
        (WAN22_VAE, TI2V, 121, BF16, 9.1),
        (WAN21_VAE, (1024, 1024), 1, FP32, 6.8),
    ],
)
def test_wan_decoding(
    config: dict[str, Any], size: tuple[int, int], frames: int, dtype: torch.dtype, gib: float
) -> None:
    ratio = config.get("scale_factor_spatial", 8)
    latents = (1, config["z_dim"], (frames - 1) // 4 + 1, size[1] // ratio, size[0] // ratio)
    plain = {name: value for name, value in config.items() if not name.startswith("_")}
    statistics = {"latents_mean": [0.0] * latents[1], "latents_std": [1.0] * latents[1]}

    def run(model: Any) -> None:
        for _ in islice(decode_chunks(model, tensor(*latents, dtype=dtype)), 4):
            pass  # the decoder keeps as much from the third chunk on

    measured = measure(lambda: AutoencoderKLWan(**plain, **statistics), dtype, run)
    assert measured / GIB == pytest.approx(gib, abs=0.06)
    assert_close_above(decoding_bytes(config, ShotSize(*size, frames), dtype.itemsize), measured)


@pytest.mark.parametrize(
    ("size", "frames", "gib"),
    [((1024, 576), 121, 5.7), ((1920, 1088), 257, 42.3)],
)
def test_ltx2_decoding(size: tuple[int, int], frames: int, gib: float) -> None:
    def run(model: Any) -> None:
        latents = tensor(1, 128, (frames - 1) // 8 + 1, size[1] // 32, size[0] // 32)
        model.decode(latents, None, return_dict=False)

    def build() -> AutoencoderKLLTX2Video:
        return AutoencoderKLLTX2Video(
            decoder_causal=False, spatial_compression_ratio=32, temporal_compression_ratio=8
        )

    measured = measure(build, BF16, run)
    assert measured / GIB == pytest.approx(gib, abs=0.06)
    assert_close_above(decoding_bytes(LTX2_VAE, ShotSize(*size, frames), 2), measured)


def test_what_a_video_starts_from_is_encoded_in_less_than_it_is_decoded() -> None:
    size, frames = WAN_720P, 13

    def run(model: Any) -> None:
        model.encode(tensor(1, 3, frames, size[1], size[0], dtype=FP32))

    measured = measure(AutoencoderKLWan, FP32, run)
    shot = ShotSize(*size, frames)
    model = Architecture(
        index={},
        denoisers=(wan(40, 13824, 36),),
        text_encoders=(),
        vae=WAN21_VAE,
        vae_bytes=4,
        decode_bytes=4,
    )
    activations = estimate(model, shot, [(shot, 1)])
    assert_close_above(activations.condition, measured)
    assert activations.condition < activations.decode


def ltx2_vae() -> AutoencoderKLLTX2Video:
    return AutoencoderKLLTX2Video(
        decoder_causal=False, spatial_compression_ratio=32, temporal_compression_ratio=8
    )


@pytest.mark.parametrize("size", [(1920, 1088), (1024, 576)])
def test_an_image_that_ltx2_starts_from(size: tuple[int, int]) -> None:
    measured = measure(ltx2_vae, BF16, lambda model: model.encode(tensor(1, 3, 1, size[1], size[0])))
    shot = ShotSize(*size, 121)
    model = Architecture(
        index={}, denoisers=(LTX2_TRANSFORMER,), text_encoders=(), vae=LTX2_VAE, vae_bytes=2, decode_bytes=2
    )
    assert_close_above(estimate(model, shot, [(shot, 1)]).condition, measured)


@pytest.mark.parametrize("batch", [1, 2])
def test_small_shots_of_ltx2_fit_into_their_estimate(batch: int) -> None:
    def run(model: Any) -> None:
        model(
            hidden_states=tensor(batch, 128, 128),
            audio_hidden_states=tensor(batch, 126, 128),
            encoder_hidden_states=tensor(batch, 1024, 3840),
            audio_encoder_hidden_states=tensor(batch, 1024, 3840),
            timestep=torch.empty((batch,)),
            sigma=torch.empty((batch,)),
            num_frames=2,
            height=8,
            width=8,
            fps=24.0,
            audio_num_frames=126,
            return_dict=False,
        )

    measured = measure(lambda: LTX2VideoTransformer3DModel(rope_type="split", num_layers=2), BF16, run)
    estimated = denoising_bytes({}, LTX2_TRANSFORMER, LTX2_VAE, ShotSize(256, 256, 9), batch)
    assert measured <= estimated <= 1.5 * measured


def test_images() -> None:
    places, size = 64 * 64, ShotSize(1024, 1024)
    flux: dict[str, Any] = {"num_attention_heads": 24, "attention_head_dim": 128}

    def run_flux(model: Any) -> None:
        model(
            hidden_states=tensor(2, places, 64),
            encoder_hidden_states=tensor(2, 512, 4096),
            pooled_projections=tensor(2, 768),
            timestep=tensor(2),
            guidance=tensor(2),
            img_ids=tensor(places, 3),
            txt_ids=tensor(512, 3),
        )

    def run_qwen(model: Any) -> None:
        model(
            hidden_states=tensor(2, places, 64),
            encoder_hidden_states=tensor(2, 1024, 3584),
            timestep=tensor(2),
            img_shapes=[[(1, 64, 64)]] * 2,
        )

    estimated = denoising_bytes({}, flux, KL_VAE, size, 2)
    assert (
        measure(
            lambda: FluxTransformer2DModel(num_layers=1, num_single_layers=1, guidance_embeds=True),
            BF16,
            run_flux,
        )
        <= estimated
        <= 2 * measure(lambda: QwenImageTransformer2DModel(num_layers=1), BF16, run_qwen)
    )
    blocks: dict[str, Any] = {
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "latent_channels": 16,
    }
    assert_close_above(
        decoding_bytes(KL_VAE, size, 4),
        measure(
            lambda: AutoencoderKL(**blocks),
            FP32,
            lambda model: model.decode(tensor(1, 16, 128, 128, dtype=FP32)),
        ),
    )
    assert_close_above(
        decoding_bytes({"_class_name": "AutoencoderKLQwenImage"}, size, 2),
        measure(AutoencoderKLQwenImage, BF16, lambda model: model.decode(tensor(1, 16, 1, 128, 128))),
    )


@pytest.mark.parametrize(
    ("denoiser", "vae", "size", "tokens"),
    [
        ("WanTransformer3DModel", "AutoencoderKLWan", ShotSize(832, 480, 81), 32_760),
        ("WanTransformer3DModel", "AutoencoderKLWan", ShotSize(1280, 720, 81), 75_600),
        ("LTX2VideoTransformer3DModel", "AutoencoderKLLTX2Video", ShotSize(1024, 576, 121), 9_216),
        ("QwenImageTransformer2DModel", "AutoencoderKLQwenImage", ShotSize(1024, 1024, 1), 4_096),
        ("FluxTransformer2DModel", "AutoencoderKL", ShotSize(1024, 1024, 1), 4_096),
    ],
)
def test_the_tokens_of_self_attention(denoiser: str, vae: str, size: ShotSize, tokens: int) -> None:
    assert attention_tokens({"_class_name": denoiser}, {"_class_name": vae}, size) == tokens
