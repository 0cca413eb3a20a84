"""Frames from the pixels that pipelines and decoders return."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from framegate.media.images.fitting import fit_frame

if TYPE_CHECKING:
    from framegate.core.backend import Frame


def to_uint8(pixels: torch.Tensor) -> torch.Tensor:
    """Return a video decoder's pixels as frames, on the same device.

    1 × 3 × time × height × width in -1…1 becomes uint8, time × height × width × 3.
    """
    levels = (pixels[0].float().clamp(-1, 1) / 2 + 0.5).mul(255).round().to(torch.uint8)
    return levels.permute(1, 2, 3, 0).contiguous()


def to_frame(pixels: NDArray[np.floating], width: int, height: int) -> "Frame":
    """Return an image pipeline's pixels (height × width × 3, in 0…1) as a frame of the requested size.

    A few pipelines choose a size near it.
    """
    return fit_frame((pixels * 255).round().astype(np.uint8), width, height)
