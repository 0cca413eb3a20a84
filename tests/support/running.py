"""A real server for tests: its own process, data folder, Valkey and worker."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests

Found = TypeVar("Found")


def eventually(look: Callable[[], Found | None], *, seconds: float = 30.0, what: str = "the state") -> Found:
    """What ``look`` finds, as soon as it finds something true."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was not reached within {seconds:g} s (last seen: {found!r})")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def framegate(
    *arguments: str | os.PathLike[str],
    data_dir: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [*COMMAND, *arguments, "--data-dir", data_dir],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean_environ(environ),
        cwd=cwd or data_dir.parent,
    )


COMMAND = (sys.executable, "-m", "framegate.cli")


def clean_environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEGATE_")}
    return {**kept, **(extra or {})}


class RunningServer:
    """``framegate serve`` on a free loopback port. ``config`` is the text of its framegate.toml."""

    def __init__(
        self,
        data_dir: Path,
        *,
        config: str = "",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        port: int | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.with_suffix(".log")
        self._config = data_dir.with_suffix(".toml")
        self._config.write_text(config)
        self._command = command
        self._arguments = list(arguments)
        self._environ = clean_environ(environ)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [
                    *self._command,
                    "serve",
                    "--port",
                    str(self.port),
                    "--data-dir",
                    str(self.data_dir),
                    "--config",
                    str(self._config),
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,
            )

    def wait_until_ready(self, path: str = "/ready", seconds: float = 30.0) -> "RunningServer":
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log_text()}")
            try:
                return requests.get(self.url + path, timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        eventually(answers, seconds=seconds, what=f"{path} of the server")
        return self

    def kill(self) -> None:
        """kill -9 of the server process alone."""
        self.process.kill()
        self.process.wait()

    def restart(self, *, config: str | None = None) -> "RunningServer":
        """Start it again, after `kill` or `stop`, with another config if one is given."""
        if config is not None:
            self._config.write_text(config)
        self.process = self._start()
        return self.wait_until_ready()

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM, as a service manager would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command against this server's data folder, in its environment."""
        return framegate(*arguments, "--config", self._config, data_dir=self.data_dir, environ=self._environ)

    def json(self, *arguments: str) -> Any:
        """What a command prints with ``--json``."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def worker_pids(self) -> list[int]:
        return [worker["pid"] for worker in self.json("workers")]

    def kill_all(self, started: str, *, spare: int = 0) -> None:
        """kill -9 of those whose start is in the log, as ``worker_started`` or ``valkey_started``, and that
        still run."""
        for line in self.log_lines():
            if line["event"] == started and line["pid"] != spare and _is_ours(line["pid"]):
                os.kill(line["pid"], signal.SIGKILL)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]


def _is_ours(pid: int) -> bool:
    """Is it still the process that the log speaks of, and not another one with its number?"""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"framegate" in command or b"valkey" in command
