"""Full-size VAEs: seconds and memory of a decode, by dtype, layout and way of decoding."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.video_processor import VideoProcessor

from framegate.core.types import ShotSize
from framegate.plugins.diffusers import testing
from framegate.plugins.diffusers.loading.vae import Layout, set_layout
from framegate.plugins.diffusers.planning.activations import decoding_bytes, tiled_decoding_bytes
from framegate.plugins.diffusers.wan import decoding as wan
from framegate.plugins.ltx2 import decoding as ltx2
from tests.benchmarks import full_size
from tests.benchmarks.gpu.report import BASELINE
from tests.benchmarks.gpu.session import GIB, Measured, Session, Step, begin_peak, median_seconds, seconds_of

S_DECODE = "s"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYOUTS: tuple[Layout, ...] = ("contiguous", "channels_last")
TINY = ShotSize(64, 64, 17)
WARM_UP = 3
"""Frames of the latents that are decoded before time is taken: every kernel runs in them."""


@dataclass(frozen=True)
class Decode:
    """The VAE of a family, and the size of a video."""

    family: str
    build: Callable[[], Any]
    tiny: str
    size: ShotSize

    @property
    def name(self) -> str:
        """The group of its rows."""
        return f"{self.family} {self.size}"


DECODES = {
    decode.name: decode
    for decode in (
        Decode("wan22", full_size.wan22_vae, "wan22_ti2v", ShotSize(1280, 704, 121)),
        Decode("ltx2", full_size.ltx2_vae, "ltx2", ShotSize(768, 512, 121)),
        Decode("ltx2", full_size.ltx2_vae, "ltx2", ShotSize(1024, 576, 121)),
        Decode("wan21", full_size.wan21_vae, "wan21_t2v", ShotSize(832, 480, 81)),
        Decode("wan21", full_size.wan21_vae, "wan21_t2v", ShotSize(1280, 720, 81)),
    )
}


def measure(session: Session, names: Sequence[str]) -> None:
    """Measure the decodes of the families ``names`` ("wan21"), all of them if there are none."""
    for decode in DECODES.values():
        if not names or decode.family in names:
            bench = Bench(session, decode)
            session.run(decode.name, bench.plan())
            bench.close()


class Bench:
    """One VAE, which changes its dtype and layout from row to row."""

    def __init__(self, session: Session, decode: Decode) -> None:
        self._session = session
        self._decode = decode
        self._size = decode.size if session.full_size else TINY
        self._is_ltx2 = decode.tiny == "ltx2"
        self._vae: Any = None
        self._latents = torch.empty(0)

    def plan(self) -> list[Step]:
        """Return the rows. Tiles come last, as they are the slowest."""
        steps = [Step("build", self._build, essential=True)]
        for dtype in ("bf16",) if self._is_ltx2 else ("bf16", "fp32"):
            name = BASELINE if dtype == "bf16" else f"{BASELINE}, {dtype}"
            steps.append(Step(name, self._plain(dtype)))
            steps += [Step(f"ours, {dtype}, {layout}", self._ours(dtype, layout)) for layout in LAYOUTS]
        return [*steps, Step("ours, bf16, tiles", self._ours("bf16", "contiguous", tiled=True))]

    def close(self) -> None:
        """Free the memory."""
        self._vae, self._latents = None, torch.empty(0)

    def _build(self) -> Measured:
        device, decode = self._session.device, self._decode

        def built() -> None:
            with torch.device(device):
                self._vae = decode.build() if self._session.full_size else testing.build(decode.tiny).vae
            self._vae.to(device)

        seconds = seconds_of(built, device)
        shape = latent_shape(self._vae, self._size)
        self._latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)
        return {S_DECODE: seconds}

    def _plain(self, dtype: str) -> Callable[[], Measured]:
        """Return what times a pipeline's decode, whose frames come to the host as floats."""
        processor: Any = VideoProcessor()

        def decode(vae: Any, latents: torch.Tensor) -> object:
            with torch.no_grad():
                arguments = (None,) if self._is_ltx2 else ()  # LTX-2's takes a timestep
                pixels = vae.decode(latents, *arguments, return_dict=False)[0]
            return processor.postprocess_video(pixels, output_type="np")

        return lambda: self._measure(decode, dtype, "contiguous")

    def _ours(self, dtype: str, layout: Layout, *, tiled: bool = False) -> Callable[[], Measured]:
        if self._is_ltx2:
            frames = ltx2.decode_tiled if tiled else ltx2.decode_whole
        else:
            frames = wan.decode_tiled if tiled else wan.decode_streamed

        def decode(vae: Any, latents: torch.Tensor) -> object:
            return deque(frames(vae, latents), maxlen=0)

        estimate = tiled_decoding_bytes if tiled else decoding_bytes
        return lambda: {
            **self._measure(decode, dtype, layout),
            "planned GiB": self._planned(estimate, DTYPES[dtype].itemsize),
        }

    def _planned(self, estimate: Callable[[Mapping[str, Any], ShotSize, int], int], number: int) -> float:
        """Return the peak that placement plans with: the VAE's weights, and what decoding takes."""
        config = {"_class_name": type(self._vae).__name__, **self._vae.config}
        weights: int = sum(parameter.numel() for parameter in self._vae.parameters()) * number
        return (weights + estimate(config, self._size, number)) / GIB

    def _measure(self, decode: Callable[[Any, torch.Tensor], object], dtype: str, layout: Layout) -> Measured:
        vae, device = self._vae.to(DTYPES[dtype]), self._session.device
        set_layout(vae, layout)
        latents = self._latents.to(DTYPES[dtype])
        decode(vae, latents[:, :, :WARM_UP])
        begin_peak(device)
        return {S_DECODE: median_seconds(lambda: decode(vae, latents), device)}


def latent_shape(vae: Any, size: ShotSize) -> tuple[int, ...]:
    """Return the shape of the latents of a video of ``size``."""
    width, height, frames = size.width, size.height, size.num_frames
    config = vae.config
    if "z_dim" in config:
        channels, space, time = config.z_dim, config.scale_factor_spatial, config.scale_factor_temporal
    else:
        channels = config.latent_channels
        space, time = vae.spatial_compression_ratio, vae.temporal_compression_ratio
    return (1, channels, (frames - 1) // time + 1, height // space, width // space)
