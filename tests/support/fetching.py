"""Fetch files in tests that look at their content."""

from pathlib import Path
from tempfile import TemporaryDirectory

from framegate.media.network.fetch import UrlFetcher


async def fetch_content(fetcher: UrlFetcher, url: str, *, owner: str = "") -> bytes:
    """Return the content of the file at ``url``."""
    with TemporaryDirectory() as folder:
        target = Path(folder) / "file"
        size = await fetcher.download(url, target, owner=owner)
        content = target.read_bytes()
    assert len(content) == size
    return content
