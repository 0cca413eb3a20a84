"""Request handlers of test servers."""

from typing import Any


class Quiet:
    """Let a request handler of `http.server` log nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 # its handlers' name for it
        """Log nothing."""
