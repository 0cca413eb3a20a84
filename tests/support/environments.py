"""Virtual environments as users make them: from built wheels, beside the checkout."""

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

CONSTRAINTS = REPOSITORY / "constraints.txt"


def projects() -> list[Path]:
    """Return the folder of every distribution, the umbrella's last."""
    patterns = ("core", "adapters/*", "plugins/*")
    found = (path.parent for one in patterns for path in REPOSITORY.glob(f"{one}/pyproject.toml"))
    return [*sorted(found), REPOSITORY]


def build_wheels(sources: Sequence[Path], folder: Path) -> Path:
    """Build the distributions in ``sources`` into ``folder`` with this environment's build tools."""
    for source in sources:
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            folder,
            source,
        ]
        _run(command)
    return folder


class Environment:
    """A virtual environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder)
        self.bin = folder / "bin"

    def pip(self, command: str, *arguments: str | Path) -> None:
        """Run this environment's pip for that one; what it says is in the error if it fails."""
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", self.bin / "python")
        _run([*pip, command, "--quiet", *arguments])

    def install(self, *requirements: str, wheels: Path) -> None:
        """Install our distributions from ``wheels``, and what they need from the package index."""
        self.pip("install", "--no-compile", "-c", CONSTRAINTS, "--find-links", wheels, *requirements)

    def distributions(self) -> set[str]:
        """Return the names of all installed distributions."""
        program = (
            "from importlib.metadata import distributions as d; print(*{i.name for i in d()}, sep='\\n')"
        )
        return {name.lower().replace("_", "-") for name in self.python(program).split()}

    def python(self, program: str) -> str:
        """Run a program to its end and return what it prints."""
        return _run([self.bin / "python", "-c", program])

    @property
    def framegate(self) -> tuple[str, ...]:
        """The command line of this environment."""
        return (str(self.bin / "framegate"),)


def _run(command: Sequence[str | Path]) -> str:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environ)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
