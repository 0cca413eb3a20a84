"""``framegate completion``: the scripts, and what they complete."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.in_process import run_command
from tests.support.running import clean_environ

ASK = """
set -e
eval "$(framegate completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_framegate_completion framegate
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which shells find the program."""
    program = tmp_path / "bin" / "framegate"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m framegate.cli "$@"\n')
    program.chmod(0o700)
    environ = clean_environ()
    return {**environ, "PATH": f"{program.parent}{os.pathsep}{environ['PATH']}"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("framegate jobs re", {"retry"}),
        ("framegate jobs list --state qu", {"queued"}),
        (
            "framegate generate --model sora2pro-hd-portrait-1",
            {"sora2pro-hd-portrait-10s", "sora2pro-hd-portrait-15s"},
        ),
    ],
)
def test_bash(words: str, expected: set[str], environ: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK.format(words=words)],
        capture_output=True,
        text=True,
        env=environ,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_right_for_their_shells(shell: str, tmp_path: Path) -> None:
    script = run_command(["completion", shell], environ=clean_environ(), cwd=tmp_path).stdout
    assert f"_FRAMEGATE_COMPLETE={shell}_complete" in script
    assert "\\x" not in script, "a character of it was written out"
    if program := shutil.which(shell):
        checked = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, timeout=60)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_a_config_that_is_wrong_completes_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "framegate.toml").write_text("[server")
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK.format(words="framegate generate --model s")],
        capture_output=True,
        text=True,
        env=environ,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")
