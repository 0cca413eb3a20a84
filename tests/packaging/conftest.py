"""The built wheels, for environments as users make them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.environments import REPOSITORY


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all distributions' wheels, as ``make dist`` builds them in this environment."""
    folder = tmp_path_factory.mktemp("wheels") / "dist"
    environment = Path(sys.prefix)
    command = [
        "make",
        "dist",
        f"DIST={folder}",
        f"RUN_VENV={environment}",
        f"--old-file={environment}/.installed",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return folder
