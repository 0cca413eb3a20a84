"""Make images from results, in decoder processes."""

from pathlib import Path

from framegate.core.disk_full import translate_disk_full
from framegate.core.types import Variant
from framegate.media.decoding.pool import DecoderPool
from framegate.media.decoding.tasks import MakeVariant


class MediaVariants:
    """Implement the port `VariantMaker`."""

    def __init__(self, decoders: DecoderPool) -> None:
        self._decoders = decoders

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        """Write a variant of the result ``source`` to ``target``; ``quality`` (0–100) is JPEG's and WebP's.

        Raises:
            InvalidMedia: The result can't be decoded.
            Busy: Too much is waiting to be decoded.
        """
        with translate_disk_full():
            await self._decoders.run(MakeVariant(source, target, variant, quality), owner=owner)
