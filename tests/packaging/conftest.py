"""The built wheels, for environments as users make them."""

from pathlib import Path

import pytest

from tests.support.environments import build_wheels, projects


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all distributions' wheels."""
    return build_wheels(projects(), tmp_path_factory.mktemp("wheels"))
