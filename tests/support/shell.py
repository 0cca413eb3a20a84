"""Run printed commands and programs as a reader would, who pastes them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

TOOLS = ("curl", "jq")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"printed commands need {' and '.join(TOOLS)}"
)


class Shell:
    """A shell and a Python in ``folder``.

    ``curl`` fails on an error status, which it doesn't by itself; ``python`` is the one that runs the tests.
    ``environ`` is added to the environment of the test.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        tools = folder / ".tools"
        tools.mkdir()
        curl = f'exec {shutil.which("curl")} --fail-with-body --silent --show-error "$@"'
        for name, command in (
            ("curl", curl),
            ("python", f'exec {sys.executable} "$@"'),
            ("python3", f'exec {sys.executable} "$@"'),
        ):
            (tools / name).write_text(f"#!/bin/sh\n{command}\n")
            (tools / name).chmod(0o755)
        self._environ = {
            **os.environ,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONIOENCODING": "utf-8",
            **(environ or {}),
        }

    def bash(self, script: str) -> str:
        """Return what a script prints; each of its commands must succeed."""
        return self._run(["bash", "-euo", "pipefail", "-c", script])

    def python(self, program: str) -> str:
        """Return what a program prints; it must end without an exception."""
        file = self.folder / "program.py"
        file.write_text(program, encoding="utf-8")
        return self._run([sys.executable, "-W", "ignore::DeprecationWarning", file.name])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self._environ, capture_output=True, timeout=120, encoding="utf-8"
        )
        assert done.returncode == 0, f"{done.stderr}\n{done.stdout}"
        return done.stdout
