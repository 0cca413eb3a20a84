"""Details of a path that Litestar's routing hides."""

from litestar.types import Scope


def has_trailing_slash(scope: Scope) -> bool:
    """Return whether a path ends in a slash, which Litestar ignores and some dialects don't."""
    raw = scope["raw_path"] if "raw_path" in scope else scope["path"].encode()
    return raw.partition(b"?")[0].endswith(b"/")
