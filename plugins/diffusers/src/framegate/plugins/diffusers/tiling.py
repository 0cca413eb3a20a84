"""Decoding in tiles where decoding in one piece does not fit."""

import math
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import structlog
import torch

from framegate.plugins.diffusers.loading.offloading import onload
from framegate.plugins.diffusers.memory import free_bytes, is_out_of_memory, release

Decoded = TypeVar("Decoded")
Item = TypeVar("Item")
log = structlog.get_logger(__name__)


class Tiling:
    """Decides whether to decode in tiles, as ``options.vae_tiling``, which is ``tiling``, says.

    "on" and "off" always take the same; "auto" takes tiles where the estimated bytes that decoding in one
    piece ``needed`` are not free, where they ran out, and from then on for every size that needs as much.
    """

    def __init__(self, tiling: str, device: torch.device) -> None:
        self.tiling = tiling
        self._device = device
        self._ran_out_at = math.inf

    def decode(self, needed: int, whole: Callable[[], Decoded], tiled: Callable[[], Decoded]) -> Decoded:
        """Return what ``whole`` or ``tiled`` decodes."""
        if not self._needs_tiles(needed):
            try:
                return whole()
            except (RuntimeError, MemoryError) as error:
                self._recover(error, needed)
        return tiled()

    def frames(
        self, needed: int, whole: Callable[[], Iterator[Item]], tiled: Callable[[], Iterator[Item]]
    ) -> Iterator[Item]:
        """Yield what ``whole`` or ``tiled`` decodes; ``tiled`` goes on where memory ran out."""
        given = 0
        if not self._needs_tiles(needed):
            try:
                for item in whole():
                    yield item
                    given += 1
            except (RuntimeError, MemoryError) as error:
                self._recover(error, needed)
            else:
                return
        yield from islice(tiled(), given, None)

    def _needs_tiles(self, needed: int) -> bool:
        if self.tiling != "auto":
            return self.tiling == "on"
        if needed >= self._ran_out_at:
            log.info("decoding_in_tiles", why="decoding in one piece ran out of memory before", needed=needed)
            return True
        if self._device.type == "cuda" and needed > (free := free_bytes(self._device)):
            log.info("decoding_in_tiles", why="too little memory is free", needed=needed, free=free)
            return True
        return False

    def _recover(self, error: Exception, needed: int) -> None:
        """Remember that memory ran out, and free what filled it; raise any other error."""
        if self.tiling == "off" or not is_out_of_memory(error):
            raise error
        self._ran_out_at = min(self._ran_out_at, needed)
        # The frames that failed hold the tensors that filled the memory.
        traceback.clear_frames(error.__traceback__)
        release(self._device)
        log.info("decoding_in_tiles", why="decoding in one piece ran out of memory", needed=needed)


def tile_when_needed(vae: Any, tiling: Tiling, needed: Callable[[torch.Tensor], int]) -> None:
    """Make ``vae.decode`` follow ``tiling``; ``needed`` estimates its bytes for latents."""
    if not hasattr(vae, "enable_tiling"):
        return
    if tiling.tiling == "on":
        vae.enable_tiling()
    if tiling.tiling != "auto":
        return
    decode_whole = vae.decode

    def decode(latents: torch.Tensor, *arguments: Any, **named: Any) -> Any:
        def decode_tiled() -> Any:
            vae.enable_tiling()
            try:
                return decode_whole(latents, *arguments, **named)
            finally:
                vae.disable_tiling()

        onload(vae)  # what it takes the place of is not free before
        return tiling.decode(
            needed(latents), lambda: decode_whole(latents, *arguments, **named), decode_tiled
        )

    vae.decode = decode
