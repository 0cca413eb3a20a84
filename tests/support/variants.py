"""Images of results, made in the test's own process."""

from pathlib import Path

from framegate.core.concurrency import FILE_THREADS
from framegate.core.types import Variant
from framegate.media.decoding.operations import perform
from framegate.media.decoding.tasks import MakeVariant


class InProcessVariants:
    """A `VariantMaker` that really decodes, without decoder processes."""

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        del owner
        await FILE_THREADS.run(perform, MakeVariant(source, target, variant, quality))
