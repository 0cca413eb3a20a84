"""The published documents are whole, and no block of them is left out."""

import hashlib
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.code_blocks import Document

PUBLISHED = Path(__file__).parent / "published"
SHA256 = {
    "lightx2v": "3776b7353cafa039b2962a5eabd93fcbb9addf7e4b71e5d418375c5e0824036a",
    "openai-chat-i2v": "c5d33a307c86753a62b09d06419443a595a559a62572f5871f62f6fb94f4129f",
    "sora2api": "7ea4e98acf9fb8aec946cc99e6df2e1c0b9b1db169f139336cf47b77cdf10908",
    "wan21-service": "e500293a6616e8d1f3882b4a42979b3cbe96108a158976c778ed4f868887bce7",
    "wan22-predict": "bd08e34758c5690b3d286cf62834a231dca233f51c54ae96d22f22a64237a359",
}
"""The documents as they were published."""


@pytest.mark.parametrize("stem", SHA256)
def test_the_document_is_unchanged(stem: str) -> None:
    assert hashlib.sha256((PUBLISHED / f"{stem}.md").read_bytes()).hexdigest() == SHA256[stem]


@pytest.mark.parametrize("stem", SHA256)
def test_each_block_is_accounted_for(stem: str) -> None:
    document: Document = import_module(f"{__package__}.test_{stem.replace('-', '_')}").DOCUMENT
    assert document.path == PUBLISHED / f"{stem}.md"
    assert [str(block) for block in document.missing()] == []


def test_no_document_is_missing() -> None:
    assert {path.stem for path in PUBLISHED.glob("*.md")} - {"README"} == SHA256.keys()
