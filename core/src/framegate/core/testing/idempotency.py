"""Reference model of idempotency: which earlier job answers a submission, and which refusals are counted.

In production Lua scripts in `framegate.storage` do this. Only tests and the in-memory stores execute it: a
state machine test holds the scripts to it.
"""

import time
from collections.abc import Callable

from msgspec import Struct

from framegate.core.ports import IdempotencyKey

MAX_JOBS, MAX_REFUSALS = 32, 1000


class AnsweringJob(Struct):
    """A job that may answer further submissions.

    ``low`` and ``high`` are the least and greatest number of retries among the submissions that it has
    answered, ``call`` is the last of them.
    """

    job_id: str
    made_by: IdempotencyKey
    made_at: float
    low: int
    high: int
    call: str


class SubmissionMemory:
    """What a store remembers of submissions. ``is_shown`` tells whether a job can still be found."""

    def __init__(self, is_shown: Callable[[str], bool]) -> None:
        self._is_shown = is_shown
        self._jobs: dict[tuple[str, str], list[AnsweringJob]] = {}  # newest first
        self._refusals: dict[
            tuple[str, str], dict[str, float]
        ] = {}  # when each call was refused, oldest first

    def find_earlier(self, owner: str, requested: IdempotencyKey) -> AnsweringJob | None:
        """Return the job that answers a submission, and remember that it has."""
        if requested.retries and self._recent_refusals(owner, requested):
            return None
        found = self._answer_to(owner, requested)
        if found and requested.retries is not None and found.made_by.fingerprint == requested.fingerprint:
            found.low, found.high = min(found.low, requested.retries), max(found.high, requested.retries)
            found.call = requested.call
        return found

    def remember_job(self, owner: str, requested: IdempotencyKey, job_id: str) -> None:
        """Remember the job that a submission has made; a retry uses up a refusal."""
        retries = requested.retries or 0
        low = retries
        if retries and self._use_up(self._recent_refusals(owner, requested)):
            low = 0
        made = AnsweringJob(job_id, requested, time.monotonic(), low, retries, requested.call)
        older = [] if requested.retries is None else self._known(owner, requested)
        self._jobs[owner, requested.key] = [made, *older][:MAX_JOBS]

    def count_refusal(self, owner: str, requested: IdempotencyKey) -> None:
        """Count the refusal of a submission once; a retry uses up another one first."""
        if requested.retries is None:
            return
        refusals = self._recent_refusals(owner, requested)
        if requested.retries and requested.call not in refusals:
            self._use_up(refusals)
        refusals.pop(requested.call, None)
        refusals[requested.call] = time.monotonic()
        while len(refusals) > MAX_REFUSALS:
            self._use_up(refusals)

    def _answer_to(self, owner: str, requested: IdempotencyKey) -> AnsweringJob | None:
        known = self._known(owner, requested)
        if requested.retries is not None:
            for job in known:
                if job.call == requested.call:
                    return job
        if not requested.repeat:
            for job in known:
                overtaken = job.made_by.repeat and (job.made_by.retries is None or job.low > 0)
                if overtaken and job.made_at >= requested.since:
                    return job
            return None
        for job in known:
            if requested.retries is not None and job.high < requested.retries:
                return job
        return known[0] if known else None

    def _known(self, owner: str, requested: IdempotencyKey) -> list[AnsweringJob]:
        oldest = time.monotonic() - requested.seconds
        known = self._jobs.get((owner, requested.key), [])
        return [job for job in known if self._is_shown(job.job_id) and job.made_at >= oldest]

    def _recent_refusals(self, owner: str, requested: IdempotencyKey) -> dict[str, float]:
        oldest = time.monotonic() - requested.seconds
        known = self._refusals.get((owner, requested.key), {})
        recent = {call: at for call, at in known.items() if at > oldest}
        self._refusals[owner, requested.key] = recent
        return recent

    @staticmethod
    def _use_up(refusals: dict[str, float]) -> bool:
        """Remove the oldest refusal, and return whether there was one."""
        oldest = next(iter(refusals), None)
        if oldest is not None:
            del refusals[oldest]
        return oldest is not None
