"""Decoded jobs, for as long as they are known to be unchanged."""

from collections import OrderedDict
from collections.abc import Iterable

from framegate.core.jobs import Job

MAX_BYTES = 16 * 2**20
"""The memory that the jobs may take, about."""
LARGEST = MAX_BYTES // 16
"""A job that takes more is not kept."""
_OBJECT_BYTES = 1280
"""What a job takes beside its texts."""


class JobCache:
    """Keep the jobs that were used last."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._jobs: OrderedDict[str, tuple[Job, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, job_id: str) -> Job | None:
        """Return the job if it is kept."""
        kept = self._jobs.get(job_id)
        if kept is None:
            return None
        self._jobs.move_to_end(job_id)
        return kept[0]

    def put(self, job: Job, record: Iterable[str]) -> None:
        """Keep the job, which was decoded from the texts of ``record``."""
        self.discard(job.id)
        size = _OBJECT_BYTES + sum(len(text) if text.isascii() else 4 * len(text) for text in record)
        if size > LARGEST:
            return
        self._jobs[job.id] = job, size
        self._bytes += size
        while self._bytes > self._max_bytes:
            _, (_, evicted) = self._jobs.popitem(last=False)
            self._bytes -= evicted

    def discard(self, job_id: str) -> None:
        """Keep the job no longer."""
        kept = self._jobs.pop(job_id, None)
        if kept is not None:
            self._bytes -= kept[1]

    def clear(self) -> None:
        """Keep nothing."""
        self._jobs.clear()
        self._bytes = 0
