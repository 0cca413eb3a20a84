"""Watch, beside the jobs, for what keeps this worker's models from running."""

import threading
from collections.abc import Callable, Sequence

import structlog

CHECK_SECONDS = 5.0
log = structlog.get_logger(__name__)


class HealthMonitor:
    """Ask the plugins for health findings every `CHECK_SECONDS`.

    A thread of its own does it, for they may take seconds to answer.
    """

    def __init__(self, check: Callable[[], Sequence[str]]) -> None:
        self._check = check
        self._findings: tuple[str, ...] = ()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings of the last check, a sentence each."""
        return self._findings

    def start(self) -> None:
        """Start checking."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the check in progress, without waiting for it."""
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            findings = tuple(self._check())
            for finding in findings:
                if finding not in self._findings:
                    log.warning("health_finding", finding=finding)
            for finding in self._findings:
                if finding not in findings:
                    log.info("health_finding_resolved", finding=finding)
            self._findings = findings
            self._stopping.wait(CHECK_SECONDS)
