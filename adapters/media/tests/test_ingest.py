"""Inputs as clients give them, stored."""

import io
from pathlib import Path

import pytest
from PIL import Image

from framegate.core.errors import InvalidMedia
from framegate.core.ports import Base64Source, BytesSource, CollageSource, FileSource
from framegate.core.testing import InMemoryArtifactStore
from framegate.core.types import MediaKind, MediaRef
from framegate.media.decoding.pool import DecoderPool
from framegate.media.ingest import MediaIngest
from framegate.media.network.fetch import UrlFetcher
from tests.support.listing import files_below


def as_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


SQUARE = as_bytes(Image.new("RGB", (40, 40), "red"))
WHITE = as_bytes(Image.new("L", (3, 3), 255))


class Stand:
    def __init__(self, folder: Path, decoders: DecoderPool, max_bytes: int = 10_000) -> None:
        self.artifacts = InMemoryArtifactStore(folder)
        self.ingest = MediaIngest(
            UrlFetcher((), max_bytes=max_bytes, timeout=5), self.artifacts, decoders, max_bytes=max_bytes
        )

    def opened(self, ref: MediaRef) -> Image.Image:
        path = self.artifacts.path(ref.key)
        assert path is not None
        with Image.open(path) as picture:
            picture.load()
        assert picture.size == (ref.width, ref.height)
        return picture


async def test_a_mask_is_stored_in_its_images_size(tmp_path: Path, decoders: DecoderPool) -> None:
    stand = Stand(tmp_path, decoders)
    image = await stand.ingest.ingest(BytesSource(SQUARE), MediaKind.IMAGE, owner="")
    mask = await stand.ingest.ingest_mask(BytesSource(WHITE), image, owner="")
    assert (mask.width, mask.height) == (40, 40)
    assert stand.opened(mask).getextrema() == (255, 255)


async def test_a_collage_and_its_mask(tmp_path: Path, decoders: DecoderPool) -> None:
    stand = Stand(tmp_path, decoders)
    image, mask = await stand.ingest.ingest_collage(
        CollageSource((BytesSource(SQUARE),) * 3, BytesSource(WHITE)), owner=""
    )
    assert mask is not None
    assert (image.width, image.height) == (mask.width, mask.height) == (120, 40)
    assert stand.opened(image).getpixel((100, 20)) == (255, 0, 0)
    assert [stand.opened(mask).getpixel((column, 20)) for column in (20, 60, 100)] == [255, 0, 0]
    image, mask = await stand.ingest.ingest_collage(CollageSource((BytesSource(SQUARE),) * 2), owner="")
    assert (image.width, mask) == (80, None)


@pytest.mark.parametrize(
    ("images", "mask", "param", "word"),
    [
        ([SQUARE, b"nothing"], None, None, "not an image"),
        ([SQUARE, SQUARE], b"nothing", "mask", "not an image"),
        ([SQUARE, SQUARE], b"", "mask", "empty"),
        ([SQUARE, SQUARE], b"x" * 20_000, "mask", "at most"),
        ([SQUARE, b"x" * 9_000, b"x" * 9_000, b"x" * 9_000], None, None, "together"),
    ],
)
async def test_collages_that_are_refused_leave_nothing(
    tmp_path: Path,
    decoders: DecoderPool,
    images: list[bytes],
    mask: bytes | None,
    param: str | None,
    word: str,
) -> None:
    stand = Stand(tmp_path, decoders)
    sources: tuple[FileSource, ...] = tuple(BytesSource(data) for data in images)
    collage = CollageSource(sources, None if mask is None else BytesSource(mask))
    with pytest.raises(InvalidMedia, match=word) as refused:
        await stand.ingest.ingest_collage(collage, owner="")
    assert refused.value.param == param
    assert not files_below(tmp_path)


async def test_base64_is_read(tmp_path: Path, decoders: DecoderPool) -> None:
    stand = Stand(tmp_path, decoders)
    with pytest.raises(InvalidMedia, match="base64"):
        await stand.ingest.ingest(Base64Source("%%%"), MediaKind.IMAGE, owner="")
