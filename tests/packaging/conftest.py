"""The built wheels, for environments as users make them."""

import os
from pathlib import Path

import pytest

from tests.support.environments import build_wheels, projects


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all distributions' wheels: those of ``make test-wheels``, or built now."""
    if given := os.environ.get("WHEELS"):
        return Path(given).resolve()
    return build_wheels(projects(), tmp_path_factory.mktemp("wheels"))
