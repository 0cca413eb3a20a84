"""From which queues a worker takes its next ticket."""

import time
from collections.abc import Callable, Collection, Sequence

DRAINED_SECONDS = 1.0
"""How soon a drained worker looks whether it may take jobs again."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 0.4


class QueueRotation:
    """The queues of a worker, the one that it served least recently first.

    ``queues`` returns those of the models that it has at that moment. A queue in which it found no job
    although there was a ticket is left alone for a moment, and for longer each time: the jobs that wait there
    may be for workers with other models, which get the next tickets, or for a limit on running jobs.

    While ``is_drained`` says that an operator has drained the worker, it takes no tickets at all.

    The thread that works on a ticket uses it meanwhile, and the one that waits for tickets while there is
    none, so it needs no lock.
    """

    def __init__(
        self, queues: Callable[[], Collection[str]], is_drained: Callable[[], bool] = lambda: False
    ) -> None:
        self._queues = queues
        self._is_drained = is_drained
        self._drained_until = 0.0
        self._served_at: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._paused_until: dict[str, float] = {}

    @property
    def queues(self) -> frozenset[str]:
        """All queues, those that are left alone included."""
        return frozenset(self._queues())

    def open_queues(self) -> Sequence[str]:
        """Return the queues that are not left alone, in the order in which they are looked at.

        Whether the worker is drained is left to whoever takes their tickets.
        """
        now = time.monotonic()
        found = [queue for queue in self.queues if self._paused_until.get(queue, 0.0) <= now]
        return sorted(found, key=lambda queue: (self._served_at.get(queue, 0.0), queue))

    def queues_to_wait_for(self) -> Sequence[str]:
        """Return the same; none while the worker is drained.

        Raises:
            redis.RedisError: Valkey, which knows that, can't be reached.
        """
        now = time.monotonic()
        if self._drained_until <= now and self._is_drained():
            self._drained_until = now + DRAINED_SECONDS
        return () if self._drained_until > now else self.open_queues()

    def seconds_to_next(self, longest: float) -> float:
        """Return in how many seconds another queue is no longer left alone, at most ``longest``."""
        now = time.monotonic()
        return min((end - now for end in self._paused_until.values() if end > now), default=longest)

    def found_job(self, queue: str) -> None:
        """Note that a ticket of the queue led to a job."""
        self._served_at[queue] = time.monotonic()
        self._pauses.pop(queue, None)
        self._paused_until.pop(queue, None)

    def found_nothing(self, queue: str) -> None:
        """Note that a ticket of the queue led to no job."""
        now = self._served_at[queue] = time.monotonic()
        pause = min(2 * self._pauses.get(queue, FIRST_PAUSE_SECONDS / 2), LONGEST_PAUSE_SECONDS)
        self._pauses[queue] = pause
        self._paused_until[queue] = now + pause
