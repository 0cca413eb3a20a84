"""What Litestar's routing hides of a path."""

from litestar.types import Scope


def has_trailing_slash(scope: Scope) -> bool:
    """Litestar takes every path with and without its last slash; some dialects tell them apart."""
    raw = scope["raw_path"] if "raw_path" in scope else scope["path"].encode()
    return raw.partition(b"?")[0].endswith(b"/")
