"""What a request costs the API process: ``python -m tests.benchmarks.requests --beside ../main``.

Starts a server of this checkout, and one of another with its own ``.venv`` if it is named, and sends them the
same requests in turns. What counts is the time that the API process spends on a CPU, in the fastest of many
short rounds, so that other work on the machine disturbs the comparison little. With ``--most 1.03`` the
command fails if a kind of request costs more than that many times as much as beside.
"""

import argparse
import http.client
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from tests.support.running import RunningServer

CONFIG = '[queue]\nworker_grace = "forever"\nmax_queued = 0\n'
SUBMISSION = json.dumps({"prompt": "a boat on a lake"})

Send: TypeAlias = Callable[[http.client.HTTPConnection], None]


def call(method: str, path: str, body: str | None = None) -> Send:
    """Return a function that sends a request and reads its answer."""
    headers = {"Content-Type": "application/json"} if body else {}

    def send(connection: http.client.HTTPConnection) -> None:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200, response.status

    return send


KINDS: Mapping[str, Send] = {
    "GET /health": call("GET", "/health"),
    "GET a job's status": call("GET", "/v1/tasks/first/status"),
    "POST a job": call("POST", "/v1/tasks/video", SUBMISSION),
}


def cpu_seconds(pid: int) -> float:
    """Return the time that a process's threads have spent on a CPU; unlike psutil's not in steps of 10 ms."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def measure(server: RunningServer, connection: http.client.HTTPConnection, send: Send, count: int) -> float:
    """Return the CPU time per request in microseconds."""
    before = cpu_seconds(server.process.pid)
    for _ in range(count):
        send(connection)
    return 1e6 * (cpu_seconds(server.process.pid) - before) / count


def start(running: ExitStack, folder: Path, command: Sequence[str]) -> RunningServer:
    """Start a server without workers, in which there is a job called "first"."""
    server = RunningServer(folder / "data", config=CONFIG, arguments=["--no-worker"], command=command)
    running.callback(server.stop)
    server.wait_until_ready("/health")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    call("POST", "/v1/tasks/video", json.dumps({"prompt": "x", "task_id": "first"}))(connection)
    connection.close()
    return server


def _fast(costs: Sequence[float]) -> float:
    """Return what a request costs in rounds that nothing has disturbed: the mean of the fastest fifth."""
    return statistics.mean(sorted(costs)[: max(1, len(costs) // 5)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--beside", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--count", type=int, default=60, help="requests of a kind in a round")
    parser.add_argument("--most", type=float, help="the largest ratio that is no failure")
    options = parser.parse_args(arguments)
    python = [sys.executable]
    if options.beside:
        python.append(str(options.beside.absolute() / ".venv" / "bin" / "python"))
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        servers: list[RunningServer] = []
        for number, program in enumerate(python):
            home = Path(folder) / str(number)
            home.mkdir()
            servers.append(start(running, home, [program, "-m", "framegate.cli"]))
        connections = [http.client.HTTPConnection("127.0.0.1", server.port) for server in servers]
        for name, send in KINDS.items():
            rounds: list[list[float]] = []
            for number in range(options.rounds + 1):
                # Whoever comes first changes, as the machine's pace does within a round.
                order = range(len(servers)) if number % 2 else reversed(range(len(servers)))
                costs = dict.fromkeys(range(len(servers)), 0.0)
                for index in order:
                    costs[index] = measure(servers[index], connections[index], send, options.count)
                rounds.append([costs[index] for index in range(len(servers))])
            rounds = rounds[1:]  # the first one warms up
            fastest = [_fast(costs) for costs in zip(*rounds, strict=True)]
            line = f"{name:22} {fastest[0]:7.1f} µs"
            if options.beside:
                ratio = fastest[0] / fastest[1]
                worst = max(worst, ratio)
                line += f"   beside {fastest[1]:7.1f} µs   ratio {ratio:.3f}"
            print(line, flush=True)
        for connection in connections:
            connection.close()
    if options.most and worst > options.most:
        print(f"A kind of request costs {worst:.3f} times as much as beside; allowed is {options.most}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
