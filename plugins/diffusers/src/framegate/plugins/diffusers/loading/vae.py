"""The VAE's decoder: what it computes in, and how its weights lie in memory."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias, get_args

import structlog
import torch
from torch import nn

from framegate.plugins.diffusers.loading.probes import GAIN, Decisions, Stopwatch, describe_card, stopwatch
from framegate.plugins.diffusers.memory import is_out_of_memory, release
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.model_folder import DECODER

Layout: TypeAlias = Literal["contiguous", "channels_last"]
"""How the weights of convolutions lie in memory."""
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
"""All of them, that of diffusers first."""
_PARTS = ("post_quant_conv", "decoder")
_HEIGHT, _WIDTH = 384, 640
"""The size of the video that is decoded to compare layouts: its convolutions are as wide as any, and half a
second is enough on a slow card."""
_IMAGE_SIDE = 1024
_LATENT_FRAMES = 3
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
"""The layouts by the number of a weight's dimensions."""
log = structlog.get_logger(__name__)


def prepare_vae(
    pipeline: Any,
    options: Options,
    dtypes: Mapping[str, torch.dtype],
    device: torch.device,
    decisions: Decisions,
) -> None:
    """Bring the VAE's decoder into the dtype and the layout that it decodes in.

    It comes before the weights are placed: what moves them later keeps copies of them as they are.
    """
    vae = getattr(pipeline, "vae", None)
    if vae is None or not isinstance(getattr(vae, "decoder", None), nn.Module):
        if options.vae_decode_dtype != "auto":
            log.info("option_unused", option="vae_decode_dtype", why="the model has no VAE with a decoder")
        return
    if options.vae_decode_dtype != "auto":
        set_decode_dtype(vae, dtypes[DECODER])
    if device.type == "cuda":
        choose_layout(pipeline, device, decisions, describe_card(device), stopwatch(device))


def set_decode_dtype(vae: Any, dtype: torch.dtype) -> None:
    """Make ``vae`` decode in ``dtype``, whatever the latents are given in; encoding keeps its own.

    Pipelines that convert the whole VAE for a moment don't change that.
    """

    def convert(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if _dtype_of(module) != dtype:
            module.to(dtype)
        return (arguments[0].to(dtype), *arguments[1:])

    for part in _decoder_parts(vae):
        part.to(dtype)
        part.register_forward_pre_hook(convert)


def decode_dtype(vae: Any) -> torch.dtype:
    """Return what ``vae`` decodes in."""
    return _dtype_of(vae.decoder)


def latents_dtype(vae: Any) -> torch.dtype:
    """Return what to denormalise latents in: the dtype of ``vae``, or a wider one that its decoder has."""
    return torch.promote_types(vae.dtype, decode_dtype(vae))


def choose_layout(
    pipeline: Any, device: torch.device, decisions: Decisions, card: str, seconds: Stopwatch
) -> Layout:
    """Lay the decoder's convolutions out in the way that is faster on ``device``, and return it.

    A short decode in each tells; the VAE ends where it was. The results of both agree up to rounding only, so
    what was decided once for a ``card`` is kept.
    """
    vae = pipeline.vae
    shape, dtype = probe_shape(pipeline), decode_dtype(vae)
    weights = sum(weight.numel() for weight in vae.decoder.parameters())
    key = f"vae layout: {type(vae).__name__}, {weights} weights, {shape}, {dtype}; {card}"
    known = decisions.get(key)
    if known in LAYOUTS:
        layout: Layout = "channels_last" if known == "channels_last" else "contiguous"
        set_layout(vae, layout)
        log.info("vae_layout_chosen", layout=layout, why="measured at an earlier start")
        return layout
    home, times = vae.device, dict[Layout, float]()
    try:
        vae.to(device)
        generator = torch.Generator(device).manual_seed(0)
        latents = torch.randn(shape, generator=generator, device=device, dtype=dtype)
        times = time_layouts(vae, lambda: vae.decode(latents, return_dict=False), seconds)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        log.info("vae_layout_not_measured", why="there is no memory for it")
    finally:
        vae.to(home)
        release(device)
    layout = faster_layout(times)
    set_layout(vae, layout)
    if len(times) == len(LAYOUTS):
        decisions.put(key, layout)
    measured = {name: round(taken, 4) for name, taken in times.items()}
    log.info("vae_layout_chosen", layout=layout, seconds=measured)
    return layout


def time_layouts(vae: Any, decode: Callable[[], object], seconds: Stopwatch) -> dict[Layout, float]:
    """Return the seconds that ``decode`` takes in each layout; one in which it fails has none."""
    times: dict[Layout, float] = {}
    for layout in LAYOUTS:
        set_layout(vae, layout)
        try:
            with torch.no_grad():
                times[layout] = seconds(decode)
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            log.info("vae_layout_not_measured", layout=layout, why=f"it failed ({type(error).__name__})")
        finally:
            if hasattr(vae, "clear_cache"):
                vae.clear_cache()
    return times


def faster_layout(times: Mapping[Layout, float]) -> Layout:
    """Return the layout to decode in: contiguous, as diffusers has it, unless the other one is faster."""
    if len(times) < len(LAYOUTS) or times["channels_last"] >= GAIN * times["contiguous"]:
        return "contiguous"
    return "channels_last"


def set_layout(vae: Any, layout: Layout) -> None:
    """Lay the weights of the decoder's convolutions out as ``layout`` says; their values stay.

    cuDNN and oneDNN compute in the layout of the weights, so all that comes after the first is in it, too.
    """
    for convolution in _convolutions(vae):
        weight = convolution.weight
        wanted = _CHANNELS_LAST[weight.dim()] if layout == "channels_last" else torch.contiguous_format
        weight.data = weight.data.contiguous(memory_format=wanted)


def probe_shape(pipeline: Any) -> tuple[int, ...]:
    """Return the shape of the latents that are decoded to compare layouts.

    1 × channels × height × width, with time before the height for a VAE of videos.
    """
    vae = pipeline.vae
    channels = vae.config.get("z_dim") or vae.config.latent_channels
    ratio = _first(
        pipeline, "vae_scale_factor_spatial", "vae_spatial_compression_ratio", "vae_scale_factor", usual=8
    )
    is_video = _first(pipeline, "vae_scale_factor_temporal", "vae_temporal_compression_ratio", usual=1) > 1
    height, width = (_HEIGHT, _WIDTH) if is_video else (_IMAGE_SIDE, _IMAGE_SIDE)
    time = [_LATENT_FRAMES if is_video else 1] if _has_time(vae) else []
    return (1, channels, *time, height // ratio, width // ratio)


def _first(pipeline: Any, *names: str, usual: int) -> int:
    return next((getattr(pipeline, name) for name in names if hasattr(pipeline, name)), usual)


def _has_time(vae: Any) -> bool:
    return any(isinstance(convolution, nn.Conv3d) for convolution in _convolutions(vae))


def _decoder_parts(vae: Any) -> list[nn.Module]:
    parts = (getattr(vae, name, None) for name in _PARTS)
    return [part for part in parts if isinstance(part, nn.Module)]


def _convolutions(vae: Any) -> list[Any]:
    return [
        module
        for part in _decoder_parts(vae)
        for module in part.modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
    ]


def _dtype_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
