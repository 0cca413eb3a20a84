"""How long a server's ``/health`` takes, asked from a process of its own.

``python -m tests.support.attacking.health URL`` asks until its standard input ends, every 20 ms and each time
on a new connection, as a client that has just come does. Then it prints the times in seconds as JSON.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from types import TracebackType
from urllib.parse import urlsplit

INTERVAL = 0.02
_TIMEOUT = 60.0


class Latencies:
    """Times in seconds. A request that was stalled stands for those that would have followed it meanwhile."""

    def __init__(self, measured: list[float]) -> None:
        self.measured = measured
        self._all = sorted(
            seconds - missed * INTERVAL
            for seconds in measured
            for missed in range(1 + int(seconds / INTERVAL))
        )

    def quantile(self, share: float) -> float:
        """Return the time within which ``share`` of the requests were answered."""
        return self._all[min(len(self._all) - 1, int(share * len(self._all)))]

    @property
    def longest(self) -> float:
        """The longest time."""
        return self._all[-1]


class HealthProbe:
    """Ask ``/health`` while the block runs; ``latencies`` are there afterwards."""

    latencies: Latencies

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> "HealthProbe":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.attacking.health", self._url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self._process.stdout.readline()  # the first answer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        printed, _ = self._process.communicate("", timeout=2 * _TIMEOUT)
        self.latencies = Latencies(json.loads(printed))


def _ask(host: str, port: int) -> float:
    started = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return _TIMEOUT  # no answer is the worst one
    finally:
        connection.close()
    return time.monotonic() - started


def main() -> None:
    """Ask until the standard input ends."""
    parts = urlsplit(sys.argv[1])
    assert parts.hostname
    assert parts.port
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    taken = [_ask(parts.hostname, parts.port)]
    print("answered", flush=True)
    while not ended.wait(max(0.0, INTERVAL - taken[-1])):
        taken.append(_ask(parts.hostname, parts.port))
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
