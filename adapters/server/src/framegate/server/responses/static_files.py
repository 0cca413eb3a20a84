"""Files that ship with the package: pages, styles, scripts."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from litestar import Response
from litestar.exceptions import NotFoundException
from msgspec import Struct

from framegate.server.requests.bodies import HTTPRequest

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(Struct, frozen=True):
    """A file in memory."""

    content: bytes
    content_type: str
    etag: str


def load_assets(folder: Path) -> dict[str, Asset]:
    """Return the files of ``folder`` by their name; call it once, at start."""
    return {
        path.name: make_asset(path.read_bytes(), _TYPES[path.suffix])
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }


def make_asset(content: bytes, content_type: str) -> Asset:
    """Return an asset whose ETag is a digest of its content."""
    return Asset(content, content_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def send_asset(
    request: HTTPRequest, assets: Mapping[str, Asset], name: str, *, policy: str = "default-src 'self'"
) -> Response[bytes]:
    """Return the response with the file, or 304 if the browser has it.

    ``policy`` is the Content-Security-Policy.

    Raises:
        NotFoundException: There is no such file.
    """
    asset = assets.get(name)
    if asset is None:
        raise NotFoundException
    headers = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
    }
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers, media_type=asset.content_type)
    return Response(asset.content, headers=headers, media_type=asset.content_type)
