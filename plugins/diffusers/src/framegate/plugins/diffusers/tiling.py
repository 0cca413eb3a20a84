"""Decoding in tiles where decoding in one piece does not fit."""

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
import torch

from framegate.plugins.diffusers.memory import is_out_of_memory, release

Decoded = TypeVar("Decoded")
log = structlog.get_logger(__name__)


def decode_or_tile(
    whole: Callable[[], Decoded], tiled: Callable[[], Decoded], tiling: str, device: torch.device
) -> Decoded:
    """Return what ``whole`` or ``tiled`` decodes, as ``options.vae_tiling``, which is ``tiling``, says.

    "on" and "off" always take the same one; "auto" takes ``tiled`` where ``whole`` runs out of memory.
    """
    if tiling == "on":
        return tiled()
    try:
        return whole()
    except (RuntimeError, MemoryError) as error:
        if tiling == "off" or not is_out_of_memory(error):
            raise
    release(device)
    log.info("decoding_in_tiles", why="there was no memory to decode in one piece")
    return tiled()


def tile_when_needed(vae: Any, tiling: str, device: torch.device) -> None:
    """Make ``vae.decode`` follow ``options.vae_tiling``, which is ``tiling``."""
    if not hasattr(vae, "enable_tiling"):
        return
    if tiling == "on":
        vae.enable_tiling()
    if tiling != "auto":
        return
    decode_whole = vae.decode

    def decode(*arguments: Any, **named: Any) -> Any:
        def decode_tiled() -> Any:
            vae.enable_tiling()
            try:
                return decode_whole(*arguments, **named)
            finally:
                vae.disable_tiling()

        return decode_or_tile(lambda: decode_whole(*arguments, **named), decode_tiled, tiling, device)

    vae.decode = decode
