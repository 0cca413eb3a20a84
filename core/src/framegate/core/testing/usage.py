"""Reference model of usage: what the steps of jobs add to what their owners have used.

In production Lua scripts in `framegate.storage` count it. Only tests and the in-memory stores use this.
"""

import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from msgspec.structs import asdict

from framegate.core.jobs import Job, JobState
from framegate.core.usage import DailyUsage, Usage


class UsageLedger:
    """A `UsageStore` in memory, to which `count_submission` and `count_end` add."""

    def __init__(self) -> None:
        self._used: dict[tuple[date, str], Usage] = {}

    async def today(self) -> date:
        """Return the current day."""
        return _today()

    async def read(self, days: Sequence[date], *, owner: str | None = None) -> Sequence[DailyUsage]:
        """Return what was used on these days."""
        return [
            DailyUsage(day=day, owner=user, **asdict(self._used[day, user]))
            for wanted in days
            for day, user in sorted(self._used)
            if day == wanted and owner in (None, user)
        ]

    def today_of(self, owner: str) -> Usage:
        """Return what an owner has used today."""
        return self._used.get((_today(), owner), Usage())

    def count_submission(self, job: Job) -> None:
        """Count a job that was just stored."""
        self._add(job.owner, jobs=1, input_bytes=job.input_bytes)

    def count_end(self, before: Job, after: Job) -> None:
        """Count the end of a job, if the step from ``before`` to ``after`` is that."""
        if before.state.finished or not after.state.finished:
            return
        ran = 0.0
        if before.state == JobState.RUNNING:
            ran = max((after.finished_at or 0.0) - (after.started_at or 0.0), 0.0)
        size = sum(made.size for made in after.artifacts)
        self._add(after.owner, **{after.state.value: 1}, gpu_seconds=ran, result_bytes=size)

    def _add(self, owner: str, **amounts: Any) -> None:
        self._used[_today(), owner] = Usage.sum([self.today_of(owner), Usage(**amounts)])


def _today() -> date:
    return datetime.fromtimestamp(time.time(), UTC).date()
