"""Framegate 0.1 as its users have it: wheels built from its commit, in an environment of their own."""

import io
import subprocess
import tarfile

import pytest

from tests.support.environments import REPOSITORY, Environment, build_wheels
from tests.support.receiving import start_receiver

__all__ = ["start_receiver"]


def first_release() -> str | None:
    """Return the last commit of 0.1: the parent of the one that split its ``adapters`` distribution."""
    split = (
        _git("log", "--diff-filter=D", "--format=%H", "-1", "--", "adapters/pyproject.toml").decode().strip()
    )
    return f"{split}^" if split else None


@pytest.fixture(scope="session")
def old(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The command line of 0.1, with the preview backend."""
    commit = first_release()
    if commit is None:
        pytest.skip("0.1 is built from its commit, and this clone's history does not reach so far back")
    folder = tmp_path_factory.mktemp("0.1")
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as source:
        source.extractall(folder / "source", filter="data")
    own = [folder / "source" / name for name in ("core", "adapters", "plugins/preview", ".")]
    environment = Environment(folder / "venv")
    environment.install("framegate==0.1.0", wheels=build_wheels(own, folder / "wheels"))
    return environment


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout
