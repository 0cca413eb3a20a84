"""SIGHUP asks for a reload, unless it says that the terminal is gone."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager

PROGRAM = """
import time
from framegate.cli.hangup import Hangups
hangups = Hangups()
hangups.follow(lambda: print("reload", flush=True))
print("started", flush=True)
while True:
    time.sleep(0.05)  # like a server's, its main thread never blocks for long: handlers run between two calls
"""


@contextmanager
def running(*, in_terminal: bool, nohup: bool = False) -> Generator[tuple[subprocess.Popen[str], int]]:
    """The program, whose log goes to a terminal or elsewhere; and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*(("nohup",) if nohup else ()), sys.executable, "-c", PROGRAM],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs if in_terminal else subprocess.DEVNULL,
        text=True,
    )
    os.close(theirs)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield process, ours
    finally:
        process.kill()
        process.communicate()


def hears(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_hangup_asks_for_a_reload_while_the_terminal_is_there() -> None:
    with running(in_terminal=True) as (process, terminal):
        assert hears(process) == hears(process) == "reload\n"
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == -signal.SIGTERM


def test_what_logs_elsewhere_outlives_the_terminal() -> None:
    with running(in_terminal=False) as (process, terminal):
        os.close(terminal)
        assert hears(process) == "reload\n"


def test_so_does_what_nohup_has_started() -> None:
    with running(in_terminal=True, nohup=True) as (process, terminal):
        os.close(terminal)
        assert hears(process) == "reload\n"
