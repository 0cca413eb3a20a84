"""What several hosts share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clocks import clock_library, new_clock
from tests.support.external_valkey import ExternalValkey
from tests.support.receiving import start_receiver

__all__ = ["clock_library", "new_clock", "start_receiver"]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ExternalValkey]:
    """A Valkey that somebody else runs."""
    elsewhere = ExternalValkey(tmp_path / "valkey")
    yield elsewhere
    elsewhere.kill()


@pytest.fixture
def queue_url(valkey: ExternalValkey) -> str:
    """Its address."""
    return valkey.url
