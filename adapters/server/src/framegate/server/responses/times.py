"""Times as responses print them."""

from datetime import UTC, datetime


def utc_text(seconds: float) -> str:
    """Return a Unix time in UTC as ``2024-01-01T00:00:00``: whole seconds, without a zone.

    Clients parse it with ``strptime`` and compare it with naive times, so that neither a fraction nor a zone
    may follow.
    """
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%S")
