"""What work costs Valkey, and how long calls take."""

import math
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from msgspec import Struct

from tests.support.processes import cpu_seconds


class Cost(Struct):
    """What a while of work has cost Valkey.

    ``cpu`` is a share of one core; ``busy`` the share of the time in which it works for clients or waits for
    its disk; ``requests`` are those of clients in a second (a pipeline counts once), and ``written`` the
    bytes that go to its append-only file in a second.
    """

    cpu: float = 0.0
    busy: float = 0.0
    requests: float = 0.0
    written: float = 0.0

    def __str__(self) -> str:
        written = f"{self.written / 1000:.1f} kB/s written"
        shares = f"{100 * self.cpu:.1f} % of a core, busy for {100 * self.busy:.1f} % of the time"
        return f"{shares}, {self.requests:,.1f} requests/s, {written}"


class Times(Struct, frozen=True):
    """How long calls took, in milliseconds."""

    calls: int
    p50: float
    p99: float
    worst: float

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:7.2f} ms   p99 {self.p99:7.2f} ms   worst {self.worst:7.2f} ms   of {self.calls}"
        )


def times_of(milliseconds: Sequence[float]) -> Times:
    """Return the summary of how long calls took."""
    ordered = sorted(milliseconds)
    if not ordered:
        return Times(0, math.nan, math.nan, math.nan)
    percentile = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Times(len(ordered), ordered[len(ordered) // 2], percentile, ordered[-1])


class Meter:
    """Measures what clients of a Valkey on this machine cost it."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._pid = int(self._info("server")["process_id"])

    @contextmanager
    def cost(self) -> Generator[Cost]:
        """Measure what is done meanwhile."""
        cost = Cost()
        requests, written, busy = self._requests(), self._written(), self._busy()
        began, cpu = time.perf_counter(), cpu_seconds(self._pid)
        yield cost
        seconds = time.perf_counter() - began
        cost.cpu = (cpu_seconds(self._pid) - cpu) / seconds
        cost.busy = (self._busy() - busy) / seconds
        cost.requests = (self._requests() - requests - 4) / seconds  # four are the meter's own
        cost.written = (self._written() - written) / seconds

    async def cpu_times(self, call: Callable[[], Awaitable[object]], *, calls: int) -> Times:
        """Return how much of Valkey's CPU time a call takes, while nobody else calls.

        Other work on the machine disturbs this little, unlike the time that passes.
        """
        times: list[float] = []
        for _ in range(calls):
            before = cpu_seconds(self._pid)
            await call()
            times.append(1000 * (cpu_seconds(self._pid) - before))
        return times_of(times)

    def memory(self) -> int:
        """Return how many bytes Valkey uses."""
        return int(self._info("memory")["used_memory"])

    def _requests(self) -> int:
        return int(self._info("stats")["total_reads_processed"])

    def _busy(self) -> float:
        return int(self._info("stats")["eventloop_duration_sum"]) / 1e6

    def _written(self) -> int:
        return int(self._info("persistence")["aof_current_size"])

    def _info(self, section: str) -> dict[str, Any]:
        return self._client.info(section)
