"""Decoding in tiles where one piece does not fit."""

from typing import Any

import structlog
import torch

from framegate.plugins.diffusers.memory import is_out_of_memory, release

log = structlog.get_logger(__name__)


def tile_when_needed(vae: Any, asked: str, device: torch.device) -> None:
    """Have ``vae.decode`` follow ``options.vae_tiling``, which is ``asked``: always or never in tiles, or
    ("auto") only where it ran out of memory in one piece."""
    if not hasattr(vae, "enable_tiling"):
        return
    if asked == "on":
        vae.enable_tiling()
    if asked != "auto":
        return
    decode_whole = vae.decode

    def decode(*arguments: Any, **named: Any) -> Any:
        try:
            return decode_whole(*arguments, **named)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        release(device)
        log.info("decoding_in_tiles", why="there was no memory to decode in one piece")
        vae.enable_tiling()
        try:
            return decode_whole(*arguments, **named)
        finally:
            vae.disable_tiling()

    vae.decode = decode
