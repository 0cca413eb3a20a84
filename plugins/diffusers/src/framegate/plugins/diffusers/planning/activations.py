"""How much memory a shot's activations take, phase by phase.

The coefficients were measured with fake tensors (torch 2.13.0, diffusers 0.42.1, eager, the weights not
counted). ``plugins/diffusers/tests/planning/test_activations.py`` measures again, and holds denoising with
Wan and LTX-2 and decoding in one piece to 0–10 % above that at the sizes of videos. Other estimates are
rougher, and above it: decoding in tiles by up to four times, small shots by a constant. Allocators, cuDNN's
and cuBLAS's workspaces come on top: `placement.RESERVED`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import Struct

from framegate.core.types import ShotSize

MIB = 2**20
"""Bytes."""
_LANGUAGE_MODELS = ("Gemma", "Glm", "Llama", "Mistral", "Qwen")
"""What the classes of text encoders begin with that are language models."""
_HEADS = {"WanTransformer3DModel": 40, "LTX2VideoTransformer3DModel": 32}
"""The default number of attention heads of 128 numbers each."""


class Activations(Struct, frozen=True, kw_only=True):
    """The bytes that activations take in each phase of a job.

    ``encode`` is of the text encoders, ``condition`` of the VAE's encoder where a job starts from an image or
    video, ``denoise`` of a step, ``decode`` and ``decode_tiled`` of the VAE's decoder.
    """

    encode: int = 0
    condition: int = 0
    denoise: int = 0
    decode: int = 0
    decode_tiled: int = 0


class Architecture(Struct, frozen=True, kw_only=True):
    """The configurations that decide how large activations are.

    ``decode_bytes`` are those of a number in the VAE's decoder, ``vae_bytes`` of one in its encoder.
    """

    index: Mapping[str, Any]
    denoisers: Sequence[Mapping[str, Any]]
    text_encoders: Sequence[Mapping[str, Any]]
    vae: Mapping[str, Any]
    vae_bytes: int
    decode_bytes: int

    @property
    def denoiser(self) -> Mapping[str, Any]:
        """The first of those that every step runs; they differ in their weights alone."""
        nothing: Mapping[str, Any] = {}
        return next(iter(self.denoisers), nothing)


def estimate(
    model: Architecture, size: ShotSize, passes: Sequence[tuple[ShotSize, int]], cache: str = "off"
) -> Activations:
    """Return what a shot of ``size`` takes.

    ``passes`` are the sizes at which it is denoised, each with how many samples go through the transformer
    together; only the first has a step cache, ``options.cache``.
    """
    return Activations(
        encode=max(map(encoding_bytes, model.text_encoders), default=0),
        condition=_conditioning_bytes(model, size),
        denoise=max(
            denoising_bytes(model.index, model.denoiser, model.vae, each, batch)
            + (cached_bytes(model.denoisers, model.vae, each, batch, cache) if number == 0 else 0)
            for number, (each, batch) in enumerate(passes)
        ),
        decode=decoding_bytes(model.vae, size, model.decode_bytes),
        decode_tiled=tiled_decoding_bytes(model.vae, size, model.decode_bytes),
    )


def encoding_bytes(text_encoder: Mapping[str, Any]) -> int:
    """Return what a text encoder takes.

    UMT5-XXL needs 0.12 GiB for 512 tokens, CLIP and T5 less. Language models return the states of all their
    layers, which are stacked once more, and a score for every word of the vocabulary.
    """
    names = text_encoder.get("architectures")
    name = str(cast("Any", names)[0]) if isinstance(names, list) and names else ""
    if not name.startswith(_LANGUAGE_MODELS):
        return 256 * MIB
    inner = text_encoder.get("text_config")
    config: Mapping[str, Any] = cast("Any", inner) if isinstance(inner, dict) else text_encoder
    tokens = 1024
    states = 2 * (_integer(config, "num_hidden_layers", 64) + 1) * _integer(config, "hidden_size", 5120)
    words = _integer(config, "vocab_size", 262_208)
    return tokens * (states + words) * 2 + 256 * MIB


def denoising_bytes(
    index: Mapping[str, Any], denoiser: Mapping[str, Any], vae: Mapping[str, Any], size: ShotSize, batch: int
) -> int:
    """Return what a forward pass of the transformer (or U-Net) takes, in bfloat16.

    It is linear in the tokens: attention kernels keep no scores.
    """
    places = _places(vae, size) * batch
    match denoiser.get("_class_name"):
        case "WanTransformer3DModel":
            width, hidden = _width(denoiser), _integer(denoiser, "ffn_dim", 13824)
            # TI2V modulates every token by itself, in float32.
            own_steps = bool(index.get("expand_timesteps"))
            attention, feed_forward = (65, 47) if own_steps else (22.4, 8.2)
            tokens = places // 4
            return int(tokens * (max(attention * width, feed_forward * width + 4 * hidden) + 1100)) + 40 * MIB
        case "LTX2VideoTransformer3DModel":
            # The audio, the text and the modulation of each take as much in small shots.
            return int(places * (34.5 * _width(denoiser) + 9_400)) + batch * 100 * MIB
        case "UNet2DConditionModel":
            return int(places * 54 * _integers(denoiser, "block_out_channels", (320,))[0]) + 64 * MIB
        case _:  # FLUX needs 35 times the width a token, Qwen-Image 30, Stable Diffusion 3 26
            return (places // 4 + batch * 1024) * 40 * _width(denoiser) + 64 * MIB


def cached_bytes(
    denoisers: Sequence[Mapping[str, Any]], vae: Mapping[str, Any], size: ShotSize, batch: int, cache: str
) -> int:
    """Return what a step cache keeps in bfloat16: tensors of the transformers' width, for two guided passes.

    Each transformer has a cache of its own. ``cache`` is ``options.cache``.
    """
    kept = 0
    for denoiser in denoisers:
        name = denoiser.get("_class_name")
        if name == "UNet2DConditionModel":
            continue
        match cache:
            case "off" | "none":
                tensors = 0
            case "taylorseer":
                tensors = 4
            case "magcache":
                tensors = 1
            case "light" | "strong" if name == "WanTransformer3DModel":  # by MagCache's ratios
                tensors = 1
            case _:
                tensors = 2
        kept += 2 * tensors * attention_tokens(denoiser, vae, size) * batch * _width(denoiser) * 2
    return kept


def attention_tokens(denoiser: Mapping[str, Any], vae: Mapping[str, Any], size: ShotSize) -> int:
    """Return the tokens of the transformer's self-attention, those of the text not counted."""
    places = _places(vae, size)
    return places if denoiser.get("_class_name") == "LTX2VideoTransformer3DModel" else places // 4


def decoding_bytes(vae: Mapping[str, Any], size: ShotSize, number: int) -> int:
    """Return what decoding in one piece takes, with ``number`` bytes for a number."""
    pixels = size.width * size.height
    match vae.get("_class_name"):
        case "AutoencoderKLWan" | "AutoencoderKLQwenImage":
            # Four frames at a time, beside what convolutions keep of the frames before.
            channels, patch = _wan_decoder(vae)
            residual = bool(vae.get("is_residual"))
            if size.num_frames == 1:
                each = 23 if residual else 18.4
            elif residual:
                each = 86
            else:
                each = 52 if number == 4 else 54  # interpolation is computed in float32
            return int(pixels // patch**2 * channels * number * each) + 8 * MIB
        case "AutoencoderKLLTX2Video":
            width = min(_integers(vae, "decoder_block_out_channels", (256,))) / 256
            return int(pixels * size.num_frames * 45.5 * width * number) + 32 * MIB
        case _:
            return int(pixels * size.num_frames * _elements_a_pixel(vae) * number) + 8 * MIB


def tiled_decoding_bytes(vae: Mapping[str, Any], size: ShotSize, number: int) -> int:
    """Return what decoding in tiles takes: a tile, and the pixels of all of them."""
    whole = decoding_bytes(vae, size, number)
    frame = size.width * size.height * 3 * number
    if vae.get("_class_name") == "AutoencoderKLLTX2Video":
        # Tiles of 512 × 512 pixels and 24 frames; the tiles of that many frames are kept for blending.
        tile = decoding_bytes(vae, ShotSize(512, 512, min(size.num_frames, 25)), number)
        return min(whole, tile + 4 * 25 * frame)
    tile = decoding_bytes(vae, ShotSize(256, 256, size.num_frames), number)
    if vae.get("_class_name") not in ("AutoencoderKLWan", "AutoencoderKLQwenImage"):
        tile = decoding_bytes(vae, ShotSize(1024, 1024, 1), number)
    # All tiles, their rows, and the result, which is unpatchified into another. Measured: 5.8 GiB for Wan2.1
    # at 1280×720×121, whose pixels have 1.25 GiB.
    copies = 4.8 if vae.get("patch_size") else 3.8
    return min(whole, tile + int(copies * size.num_frames * frame))


def compression(vae: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pixels of a side, and how many frames, one latent stands for."""
    match vae.get("_class_name"):
        case "AutoencoderKLWan":
            return _integer(vae, "scale_factor_spatial", 8), _integer(vae, "scale_factor_temporal", 4)
        case "AutoencoderKLQwenImage":
            return 8, 4
        case "AutoencoderKLLTX2Video":
            return (
                _integer(vae, "spatial_compression_ratio", 32),
                _integer(vae, "temporal_compression_ratio", 8),
            )
        case "AutoencoderDC":
            return 32, 1
        case _:
            return 2 ** (len(_integers(vae, "block_out_channels", (0,) * 4)) - 1), 1


def _places(vae: Mapping[str, Any], size: ShotSize) -> int:
    """Return how many latents a video or image of ``size`` has, channels not counted."""
    spatial, temporal = compression(vae)
    return ((size.num_frames - 1) // temporal + 1) * (size.height // spatial) * (size.width // spatial)


def _conditioning_bytes(model: Architecture, size: ShotSize) -> int:
    """Return what the VAE's encoder takes for what a job starts from."""
    vae, pixels = model.vae, size.width * size.height
    match vae.get("_class_name"):
        case "AutoencoderKLWan":
            channels, patch = _integer(vae, "base_dim", 96), _integer(vae, "patch_size", 1)
            if model.index.get("expand_timesteps"):  # one image; others encode a video of the whole length
                return int(pixels // patch**2 * channels * model.vae_bytes * 13)
            return int(pixels * model.vae_bytes * (39 * channels + 4 * size.num_frames))
        case "AutoencoderKLLTX2Video":
            return int(pixels * 92 * model.vae_bytes) + 4 * MIB
        case "AutoencoderKLQwenImage":
            return decoding_bytes(vae, ShotSize(size.width, size.height, 1), model.vae_bytes)
        case _:
            return int(pixels * _elements_a_pixel(vae) * model.vae_bytes * 0.85)


def _width(denoiser: Mapping[str, Any]) -> int:
    """Return the width of a token."""
    heads = _integer(denoiser, "num_attention_heads", _HEADS.get(str(denoiser.get("_class_name")), 0))
    if heads:
        return heads * _integer(denoiser, "attention_head_dim", 128)
    for name in ("inner_dim", "hidden_size", "dim"):
        if width := _integer(denoiser, name, 0):
            return width
    return 4096


def _integer(config: Mapping[str, Any], name: str, default: int) -> int:
    """Return a number of ``config``, or ``default``, which is the class's own, where there is no usable one.

    diffusers loads configurations that leave out what is the default.
    """
    value = config.get(name)
    return value if isinstance(value, int) and value > 0 else default


def _integers(config: Mapping[str, Any], name: str, default: Sequence[int]) -> Sequence[int]:
    """Return a list of numbers likewise."""
    values = config.get(name)
    if isinstance(values, list) and values and all(isinstance(each, int) for each in cast("Any", values)):
        return cast("list[int]", values)
    return default


def _wan_decoder(vae: Mapping[str, Any]) -> tuple[int, int]:
    """Return the channels of the decoder's last block, and the pixels of a side that it works on as one."""
    channels = _integer(vae, "decoder_base_dim", _integer(vae, "base_dim", 96))
    return channels, _integer(vae, "patch_size", 1)


def _elements_a_pixel(vae: Mapping[str, Any]) -> float:
    """Return how many numbers an image's decoder keeps for a pixel: six tensors of its widest last block."""
    widths = _integers(vae, "block_out_channels", ())
    if str(vae.get("_class_name", "")).startswith("AutoencoderKL") and widths:
        return 6.2 * widths[0]
    return 1800.0  # more than any VAE of diffusers that was measured
