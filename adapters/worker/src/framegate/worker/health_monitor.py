"""What keeps this worker's models from running, found out beside the jobs."""

import threading
from collections.abc import Callable, Sequence

import structlog

LOOK_SECONDS = 5.0
log = structlog.get_logger(__name__)


class HealthMonitor:
    """Asks the plugins every `LOOK_SECONDS`, in a thread of its own: they may take seconds to answer."""

    def __init__(self, look: Callable[[], Sequence[str]]) -> None:
        self._look = look
        self._found: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="problems", daemon=True)

    @property
    def found(self) -> tuple[str, ...]:
        """The problems that there were when it last looked."""
        return self._found

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            found = tuple(self._look())
            for problem in found:
                if problem not in self._found:
                    log.warning("problem_found", problem=problem)
            for problem in self._found:
                if problem not in found:
                    log.info("problem_gone", problem=problem)
            self._found = found
            self._stopping.wait(LOOK_SECONDS)
