"""A real server for tests: its own process, data folder, Valkey and worker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

from tests.support.in_process import Done, run_command
from tests.support.ports import free_port

Found = TypeVar("Found")

COMMAND = (sys.executable, "-m", "framegate.cli")
COMMAND_WITH_FEW_FILES = (
    sys.executable,
    "-c",
    (
        "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 4096)); "
        "runpy.run_module('framegate.cli', run_name='__main__', alter_sys=True)"
    ),
)
"""The same, with the soft limit of 1,024 open files that shells and containers often give."""
DECODER = "framegate.media.decoding.worker"
PATIENCE = 120.0
"""Seconds until a state that a quiet machine reaches at once counts as never reached."""


def eventually(
    look: Callable[[], Found | None], *, seconds: float = PATIENCE, what: str = "the state"
) -> Found:
    """Return what ``look`` finds, soon after it finds something true.

    It looks ever less often, as looking keeps the machine busy too.
    """
    deadline, pause = time.monotonic() + seconds, 0.02
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} was not reached within {seconds:g} s (last seen: {found!r})")
        time.sleep(pause)
        pause = min(1.25 * pause, 0.2)


def clean_environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without Framegate's own variables, and with ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FRAMEGATE_")}
    return {**kept, **(extra or {})}


def framegate(
    *arguments: str | os.PathLike[str],
    data_dir: Path,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, in a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments, "--data-dir", data_dir],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=clean_environ(environ),
        cwd=cwd or data_dir.parent,
    )


@contextmanager
def running_worker(
    data_dir: Path, *arguments: str | os.PathLike[str], environ: Mapping[str, str], log: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run ``framegate worker`` beside a server; it is killed at the end if it still runs.

    `workers_of` returns the process that runs jobs.
    """
    log = log or data_dir.with_name(f"{data_dir.name}-worker.log")
    with log.open("ab") as stderr:
        command = [*COMMAND, "worker", "--data-dir", data_dir, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def workers_of(supervisor: int) -> list[int]:
    """Return the workers that the process ``supervisor`` keeps running: those of a server, or of a host."""
    found: list[int] = []
    for child in psutil.Process(supervisor).children():
        with suppress(psutil.NoSuchProcess):
            if "worker" in child.cmdline():
                found.append(child.pid)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process still runs, rather than waits for its parent to ask how it ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class RunningServer:
    """``framegate serve`` on a loopback port. ``config`` is the text of its framegate.toml."""

    def __init__(
        self,
        data_dir: Path,
        *,
        config: str = "",
        arguments: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.data_dir = data_dir
        self._command = command
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = data_dir.with_suffix(".log")
        self.config = data_dir.with_suffix(".toml")
        self.config.write_text(config)
        self._arguments = list(arguments)
        self.environ = clean_environ(environ)
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
                    str(self.config),
                    *self._arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environ,
                start_new_session=True,
            )

    def wait_until_ready(self, path: str = "/status", seconds: float = PATIENCE) -> "RunningServer":
        """Wait until ``path`` answers with 200; ``/status`` does once a worker is alive."""

        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log_text()}")
            try:
                return requests.get(self.url + path, timeout=5).status_code == 200
            except (requests.ConnectionError, requests.Timeout):
                return False

        eventually(answers, seconds=seconds, what=f"{path} of the server")
        return self

    def kill(self) -> None:
        """Kill the server process alone, with -9."""
        self.process.kill()
        self.process.wait()

    def restart(self, *, config: str | None = None, ready: str = "/status") -> "RunningServer":
        """Start it again, after `kill` or `stop`, with another config if one is given."""
        if config is not None:
            self.config.write_text(config)
        self.process = self._start()
        return self.wait_until_ready(ready)

    def terminate(self) -> None:
        """Send SIGTERM, as a service manager would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = PATIENCE) -> int:
        """Terminate it, and return its exit status."""
        self.terminate()
        return self.process.wait(seconds)

    def run(self, *arguments: str) -> Done:
        """Run a command against this server's data folder, in its environment."""
        where = ("--config", self.config, "--data-dir", self.data_dir)
        return run_command([*arguments, *where], environ=self.environ, cwd=self.data_dir.parent)

    def json(self, *arguments: str) -> Any:
        """Return what a command prints with ``--json``."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def worker_pids(self) -> list[int]:
        """Return the processes that have announced themselves as workers."""
        return [worker["pid"] for worker in self.json("workers")]

    def decoders(self) -> list[psutil.Process]:
        """Return the server's decoder processes."""
        found: list[psutil.Process] = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if child.status() != psutil.STATUS_ZOMBIE and DECODER in child.cmdline():
                    found.append(child)
        return found

    def pid_of(self, started: str) -> int:
        """Return the process whose start is last in the log, as ``valkey_started``."""
        return [int(line["pid"]) for line in self.log_lines() if line["event"] == started][-1]

    def kill_all(self, started: str, *, spare: int = 0) -> None:
        """Kill with -9 those whose start is in the log, as ``worker_started`` or ``valkey_started``, and that
        still run."""
        for line in self.log_lines():
            if line["event"] == started and line["pid"] != spare and self._owns(line["pid"]):
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(line["pid"], signal.SIGKILL)

    def _owns(self, pid: int) -> bool:
        """Return whether it is still the process that the log speaks of, not another one with its number."""
        process = Path(f"/proc/{pid}")
        try:
            command, folder = (process / "cmdline").read_bytes(), (process / "cwd").readlink()
        except OSError:
            return False
        # Workers are given the data folder, Valkey works in it.
        return os.fsencode(self.data_dir) in command or folder.is_relative_to(self.data_dir)

    def log_text(self) -> str:
        """Return what server and workers have written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the structured lines that are whole: one may just be written."""
        whole = self.log_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
