"""What `make run` says where it can't install anything."""

import subprocess
from pathlib import Path

import pytest

from tests.support.environments import REPOSITORY

OLD = """#!/bin/sh
case "$*" in *version_info*) exit 1;; esac
echo Python 3.9.2
"""
NO_VENV = """#!/bin/sh
case "$*" in *ensurepip*) exit 1;; esac
"""


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "Framegate needs Python 3.11 or newer; there is no {python}. Install it"),
        (OLD, "Framegate needs Python 3.11 or newer; {python} is Python 3.9.2. Name another"),
        (
            NO_VENV,
            "{python} can't make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv",
        ),
    ],
)
def test_a_python_that_will_not_do(tmp_path: Path, script: str | None, sentence: str) -> None:
    python, environment = tmp_path / "python", tmp_path / "venv"
    if script:
        python.write_text(script)
        python.chmod(0o755)
    command = ["make", "run", f"PYTHON={python}", f"RUN_VENV={environment}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert done.stderr.startswith(sentence.format(python=python)), done.stderr
    assert not environment.exists()


def test_nothing_of_development_is_installed_to_run() -> None:
    """Nor torch: `make run` prints the packages' folders, which have their own dependencies."""
    command = ["make", "--dry-run", "run", "RUN_VENV=/nowhere"]
    printed = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "-e ./adapters/server" in printed
    assert not [name for name in ("torch", "--group", "plugins/diffusers", "npm") if name in printed]
