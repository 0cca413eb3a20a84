"""What one model needs of a device's memory."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from framegate.core.types import ShotSize
from framegate.plugins.diffusers.options import DENOISERS, Options
from framegate.plugins.diffusers.planning.activations import (
    Activations,
    Architecture,
    attention_tokens,
    compression,
    decoding_bytes,
    estimate,
)
from framegate.plugins.diffusers.planning.model_folder import (
    BYTES,
    DECODER,
    component_sizes,
    read_config,
    read_index,
)
from framegate.plugins.diffusers.planning.placement import Placement, choose_placement

Passes: TypeAlias = Sequence[tuple[ShotSize, int]]
"""The sizes at which a shot is denoised, each with how many samples go through the transformer together."""


class ModelMemory:
    """The weights in ``folder`` as ``options`` keep them, and what shots take beside them.

    ``dtypes`` are those of `dtype_names`. ``size`` is the shot that is planned for, ``passes`` tells how
    one is denoised, and ``extra`` are bytes that components take in addition to the folder's weights.
    """

    def __init__(
        self,
        folder: Path,
        options: Options,
        dtypes: Mapping[str, str],
        *,
        size: ShotSize,
        passes: Callable[[ShotSize], Passes],
        extra: Mapping[str, int],
    ) -> None:
        self.dtypes = dtypes
        self.size = size
        own = component_sizes(folder, options, dtypes)
        self.sizes = {name: own.get(name, 0) + extra.get(name, 0) for name in {**own, **extra}}
        self._options = options
        self._passes = passes
        index = read_index(folder)
        vae_bytes = BYTES[dtypes.get("vae", dtypes["default"])]
        self._architecture = Architecture(
            index=index,
            denoisers=tuple(config for name in DENOISERS if (config := read_config(folder, name))),
            text_encoders=tuple(
                read_config(folder, name) for name in index if name.startswith("text_encoder")
            ),
            vae=read_config(folder, "vae"),
            vae_bytes=vae_bytes,
            decode_bytes=BYTES[dtypes[DECODER]],
        )

    @property
    def attention_tokens(self) -> int:
        """The tokens of the transformer's self-attention in the planned shot."""
        return attention_tokens(self._architecture.denoiser, self._architecture.vae, self.size)

    def activations(self, size: ShotSize) -> Activations:
        """Return what a shot takes beside the weights, or ``options.headroom`` in every phase."""
        if reserved := self._options.headroom:
            return Activations(
                encode=reserved, condition=reserved, denoise=reserved, decode=reserved, decode_tiled=reserved
            )
        return estimate(self._architecture, size, self._passes(size), self._options.cache)

    def decoding(self, latents: Sequence[int]) -> int:
        """Return the bytes that decoding latents of this shape in one piece takes.

        It is 1 × channels (× frames) × height × width.
        """
        spatial, temporal = compression(self._architecture.vae)
        frames = (latents[2] - 1) * temporal + 1 if len(latents) == 5 else 1
        size = ShotSize(latents[-1] * spatial, latents[-2] * spatial, frames)
        return decoding_bytes(self._architecture.vae, size, self._architecture.decode_bytes)

    def placement(self, capacity: int, *, offload: str = "", size: ShotSize | None = None) -> Placement:
        """Return the placement on a device of ``capacity`` bytes.

        ``offload`` overrides the option, ``size`` the shot that is planned for.
        """
        return choose_placement(
            offload or self._options.offload,
            self.sizes,
            self.activations(size or self.size),
            capacity=capacity,
            tiling=self._options.vae_tiling,
        )
