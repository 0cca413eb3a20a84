"""What the command line does when something is wrong: one line, the right status, never a traceback."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from framegate.cli.commands import models as models_command
from tests.support.in_process import Done, run_command
from tests.support.running import COMMAND, clean_environ, eventually

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")


def run(*arguments: str | os.PathLike[str], folder: Path, stdin: bytes = b"", **environ: str) -> Done:
    return run_command(arguments, environ=clean_environ(environ), cwd=folder, stdin=stdin)


def check_one_line(done: Done, *words: str) -> None:
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("Error: ")
    assert all(word in done.stderr for word in words), done.stderr


def test_an_unexpected_error_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("what")

    monkeypatch.setattr(models_command, "context_from", broken)
    done = run("models", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Internal error: KeyError: 'what'.")
    assert done.stderr.count("\n") == 1
    assert "FRAMEGATE_TRACEBACK" in done.stderr
    shown = run("models", folder=tmp_path, FRAMEGATE_TRACEBACK="1")
    assert shown.returncode == 1
    assert "Traceback" in shown.stderr
    assert "in broken" in shown.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("jobs", "list"),
        ("jobs", "show", "x"),
        ("jobs", "watch", "x"),
        ("jobs", "cancel", "x"),
        ("jobs", "retry", "x"),
        ("jobs", "delete", "x"),
        ("characters", "list"),
        ("keys", "list"),
        ("workers",),
        ("worker",),
        ("generate", "a boat"),
        ("serve", "--port", "0"),
    ],
    ids=" ".join,
)
def test_a_data_folder_that_is_a_file(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    check_one_line(run(*command, "--data-dir", "file", folder=tmp_path), str(tmp_path / "file"))


def test_a_data_folder_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loop").symlink_to("loop")
    check_one_line(run("jobs", "list", "--data-dir", "loop", folder=tmp_path), "server.data_dir", "loop")
    check_one_line(run("generate", "a", "--data-dir", "n" * 300, folder=tmp_path), "File name too long")
    null = run("jobs", "list", folder=tmp_path, FRAMEGATE_SERVER__DATA_DIR=r'"a\u0000b"')
    check_one_line(null, "server.data_dir", "null byte")

    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    check_one_line(run("jobs", "list", folder=tmp_path), "server.data_dir", "home folder")


def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", denied)
    done = run("jobs", "list", "--data-dir", tmp_path, folder=tmp_path)
    check_one_line(done, "server.data_dir", str(tmp_path), "closed to this user")


@pytest.mark.parametrize(
    ("content", "word"), [(b"\xff\xfe", "UTF-8"), (b"[server", "Expected ']'"), (None, "Is a directory")]
)
def test_a_config_that_cannot_be_read(tmp_path: Path, content: bytes | None, word: str) -> None:
    config = tmp_path / "odd.toml"
    config.mkdir() if content is None else config.write_bytes(content)
    check_one_line(run("models", "--config", config, folder=tmp_path), str(config), word)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "n" * 300 + ".mp4"], ["-o: ", "File name too long"]),
        (["-o", "out.png", "--task", "text-to-video"], ["out.png must end in .mp4."]),
        (["-o", "out.mp4", "--task", "text-to-image"], ["out.mp4 must end in .png."]),
        (["--image", "."], ["--image: . can't be read: Is a directory."]),
        (["--image", "-", "--video", "-"], ["--video: standard input is already read for --image."]),
        (["--image", "/dev/null"], ["The image is empty"]),
        (["--seed", "9" * 30], ["seed", "2^63"]),
        (["--negative-prompt", "\udcff"], ["'\\udcff' is not valid UTF-8 text."]),
    ],
)
def test_generate_finds_out_before_it_makes_anything(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = run("generate", "a boat", *arguments, "--data-dir", "data", folder=tmp_path, stdin=b"x")
    check_one_line(done, *words)
    assert not list(tmp_path.glob(".*")), "a temporary file"


@pytest.mark.parametrize(("option", "value"), [("--guidance-scale", "nan"), ("--duration", "inf")])
def test_numbers_that_are_none(tmp_path: Path, option: str, value: str) -> None:
    done = run("generate", "a boat", option, value, "--data-dir", "data", folder=tmp_path)
    assert done.returncode == 2
    assert f"Invalid value for '{option}': {value} is not a finite number." in done.stderr


@pytest.mark.parametrize(
    ("stdin", "word"), [(b"", "empty"), (b"\xff", "UTF-8"), (b"a" * (2**20 + 1), "1,048,576 bytes")]
)
def test_a_prompt_from_standard_input(tmp_path: Path, stdin: bytes, word: str) -> None:
    done = run("generate", "-", "--data-dir", "data", folder=tmp_path, stdin=stdin)
    check_one_line(done, "PROMPT: ", word)


@needs_full
@pytest.mark.parametrize("command", ["models", "models --json", "--help", "completion zsh", "plugins"])
def test_a_full_disk_behind_standard_output(tmp_path: Path, command: str) -> None:
    with FULL.open("wb") as full:
        done = subprocess.run(
            [*COMMAND, *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environ(),
            cwd=tmp_path,
        )
    check_one_line(Done(done.returncode, b"", done.stderr), "No space left on device")


def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    line = f"{sys.executable} -m framegate.cli models --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=clean_environ(), cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("[", "")
    assert done.returncode in (0, 1), "it may all have been in the pipe"


@pytest.mark.parametrize("closed", ["<&- >&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(tmp_path: Path, closed: str) -> None:
    script = f"{sys.executable} -m framegate.cli models {closed}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, env=clean_environ(), cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_terminal_without_the_letters(tmp_path: Path) -> None:
    environ = {**clean_environ(), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "models"], capture_output=True, env=environ, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert rb"832\xd7480" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["jobs", "show"], ["generate", "a", "--fps", "x"]]
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_ctrl_c(tmp_path: Path) -> None:
    """While it waits for more of its standard input."""
    command = [*COMMAND, "generate", "-", "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environ(),
        cwd=tmp_path,
    ) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"a boa")
            process.stdin.flush()
            pipe = process.stdin.fileno()
            eventually(lambda: not unread(pipe), what="the reading of the prompt")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            assert process.stdout is not None
            assert process.stderr is not None
            assert (process.stdout.read(), process.stderr.read().strip()) == (b"", b"")
        finally:
            process.kill()


def unread(pipe: int) -> int:
    """Return how many bytes of a pipe nobody has read yet."""
    counted = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
    return int.from_bytes(counted, sys.byteorder)
