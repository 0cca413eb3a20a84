"""A job's states: every step from every state, and any order of steps."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec.structs import replace

from framegate.core.jobs import MAX_ATTEMPTS, Job, JobError, JobState
from framegate.core.testing import transitions
from framegate.core.testing.transitions import IllegalTransition
from framegate.core.types import Artifact, GenerationRequest, MediaKind, MediaRef, Shot, Task

SHOT = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="a boat",
    width=64,
    height=64,
    num_frames=8,
    fps=8,
    seed=11,
    num_inference_steps=1,
    guidance_scale=1,
)
QUEUED = Job(
    id="job",
    model="m",
    served_by="m",
    queue="q-m",
    dialect="d",
    request=GenerationRequest(model="m", task=Task.TEXT_TO_VIDEO, prompt="a boat"),
    shots=(SHOT,),
    created_at=1.0,
)
FILM = Artifact(MediaKind.VIDEO, "results/job.mp4", "video/mp4", 1, 64, 64)
ERROR = JobError("generation_failed", "The model gave no picture.")
NOW = 9.0

RUNNING = replace(transitions.claim(QUEUED, "w1", 2.0), progress=0.5, message="step 5 of 10")
LAST_TRY = replace(RUNNING, attempt=MAX_ATTEMPTS)
STATES = {
    "queued": QUEUED,
    "running": RUNNING,
    "running, asked to stop": transitions.request_cancel(RUNNING, 3.0),
    "last try": LAST_TRY,
    "last try, asked to stop": transitions.request_cancel(LAST_TRY, 3.0),
    "succeeded": transitions.succeed(RUNNING, 1, (FILM,), 4.0),
    "failed": transitions.fail(RUNNING, 1, ERROR, 4.0),
    "cancelled": transitions.request_cancel(QUEUED, 4.0),
}
STEPS: dict[str, Callable[[Job], Job]] = {
    "claim": lambda job: transitions.claim(job, "w2", NOW),
    "advance": lambda job: transitions.advance(job, job.attempt, 0.7, "step 7 of 10"),
    "succeed": lambda job: transitions.succeed(job, job.attempt, (FILM,), NOW),
    "fail": lambda job: transitions.fail(job, job.attempt, ERROR, NOW),
    "request_cancel": lambda job: transitions.request_cancel(job, NOW),
    "leave": lambda job: transitions.finish_cancelled(job, job.attempt, NOW),
    "requeue": lambda job: transitions.requeue(job, job.attempt, NOW),
    "expire": lambda job: transitions.expire(job, NOW),
}
# None: refused.
TABLE: dict[str, dict[str, JobState | None]] = {
    "queued": {
        "claim": JobState.RUNNING,
        "advance": None,
        "succeed": None,
        "fail": None,
        "request_cancel": JobState.CANCELLED,
        "leave": None,
        "requeue": None,
        "expire": None,
    },
    "running": {
        "claim": None,
        "advance": JobState.RUNNING,
        "succeed": JobState.SUCCEEDED,
        "fail": JobState.FAILED,
        "request_cancel": JobState.RUNNING,
        "leave": None,
        "requeue": JobState.QUEUED,
        "expire": JobState.QUEUED,
    },
    "running, asked to stop": {
        "claim": None,
        "advance": JobState.RUNNING,
        "succeed": JobState.CANCELLED,
        "fail": JobState.CANCELLED,
        "request_cancel": JobState.RUNNING,
        "leave": JobState.CANCELLED,
        "requeue": JobState.CANCELLED,
        "expire": JobState.CANCELLED,
    },
    "succeeded": dict.fromkeys(STEPS) | {"request_cancel": JobState.SUCCEEDED},
    "failed": dict.fromkeys(STEPS) | {"request_cancel": JobState.FAILED},
    "cancelled": dict.fromkeys(STEPS) | {"request_cancel": JobState.CANCELLED},
}
TABLE["last try"] = TABLE["running"] | {"expire": JobState.FAILED}
TABLE["last try, asked to stop"] = TABLE["running, asked to stop"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_every_step_from_every_state(state: str, step: str) -> None:
    job, expected = STATES[state], TABLE[state][step]
    if expected is None:
        with pytest.raises(IllegalTransition, match="job job "):
            STEPS[step](job)
        return
    after = STEPS[step](job)
    assert after.state == expected
    if job.state.finished:
        assert after == job, "a finished job never changes"
    elif after.state.finished:
        assert (after.finished_at, after.message) == (NOW, "")
        assert bool(after.artifacts) == (after.state == JobState.SUCCEEDED)
        assert bool(after.error) == (after.state == JobState.FAILED)
    if after.state == JobState.QUEUED:
        assert (after.worker, after.progress, after.message, after.started_at) == ("", 0.0, "", None)


@pytest.mark.parametrize("step", ["advance", "succeed", "fail", "leave", "requeue"])
@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_a_worker_that_lost_its_job_changes_nothing(step: str, attempt: int) -> None:
    job = transitions.request_cancel(replace(RUNNING, attempt=2), 3.0)
    late: dict[str, Callable[[], Job]] = {
        "advance": lambda: transitions.advance(job, attempt, 0.9, ""),
        "succeed": lambda: transitions.succeed(job, attempt, (FILM,), NOW),
        "fail": lambda: transitions.fail(job, attempt, ERROR, NOW),
        "leave": lambda: transitions.finish_cancelled(job, attempt, NOW),
        "requeue": lambda: transitions.requeue(job, attempt, NOW),
    }
    with pytest.raises(IllegalTransition, match=f"at attempt 2, not {attempt}"):
        late[step]()


def test_a_claimed_job_starts_anew() -> None:
    again = transitions.claim(transitions.expire(RUNNING, 5.0), "w2", 6.0)
    assert (again.attempt, again.worker, again.started_at) == (2, "w2", 6.0)
    assert (again.progress, again.message) == (0.0, "")


def test_progress_never_goes_back() -> None:
    job = RUNNING
    seen: list[float] = []
    for progress in (0.2, 0.6, 0.4, 7.0, -1.0):
        job = transitions.advance(job, 1, progress, "")
        seen.append(job.progress)
    assert seen == [0.5, 0.6, 0.6, 1.0, 1.0]


def test_a_job_that_kills_its_workers_fails_and_says_so() -> None:
    job = QUEUED
    for _ in range(MAX_ATTEMPTS):
        assert job.state == JobState.QUEUED
        job = transitions.expire(transitions.claim(job, "w", 2.0), NOW)
    assert job.error == JobError("worker_lost", "The worker died 3 times while running this job.")


def test_a_restarted_worker_costs_the_job_nothing() -> None:
    job = QUEUED
    for _ in range(2 * MAX_ATTEMPTS):
        job = transitions.requeue(transitions.claim(job, "w", 2.0), 1, NOW)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)


def test_what_a_job_is_made_of() -> None:
    still, film = MediaRef(MediaKind.IMAGE, "a", 1, 1), MediaRef(MediaKind.VIDEO, "b", 1, 1)
    assert (QUEUED.seed, QUEUED.inputs) == (11, ())
    request = replace(QUEUED.request, image=still, video=film)
    assert replace(QUEUED, request=request).inputs == (still, film)
    assert {state for state in JobState if state.finished} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }


class JobMachine(RuleBasedStateMachine):
    """Anybody does anything at any time; what is refused changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.job = QUEUED
        self.time = 1.0
        self.deaths = 0
        self.stopping = False
        self.reached = 0.0

    def step(self, change: Callable[[Job, float], Job]) -> bool:
        """Whether it was allowed."""
        before, self.time = self.job, self.time + 1
        try:
            self.job = change(before, self.time)
        except IllegalTransition:
            return False
        if before.state.finished:
            assert self.job == before
        if self.job.attempt != before.attempt or self.job.state != before.state:
            self.reached = 0.0
        return True

    @rule(worker=st.sampled_from(["w1", "w2"]))
    def claim(self, worker: str) -> None:
        was = self.job.state
        assert self.step(lambda job, now: transitions.claim(job, worker, now)) == (was == JobState.QUEUED)

    @rule(progress=st.floats(-1, 2), late=st.booleans())
    def advance(self, progress: float, late: bool) -> None:
        allowed = self.step(lambda job, _: transitions.advance(job, job.attempt - late, progress, "drawing"))
        assert not (allowed and late)

    @rule(late=st.booleans())
    def succeed(self, late: bool) -> None:
        self.step(lambda job, now: transitions.succeed(job, job.attempt - late, (FILM,), now))

    @rule(late=st.booleans())
    def fail(self, late: bool) -> None:
        self.step(lambda job, now: transitions.fail(job, job.attempt - late, ERROR, now))

    @rule()
    def cancel(self) -> None:
        self.stopping = self.stopping or not self.job.state.finished
        assert self.step(transitions.request_cancel), "to cancel is never refused"

    @rule()
    def leave(self) -> None:
        self.step(lambda job, now: transitions.finish_cancelled(job, job.attempt, now))

    @rule()
    def requeue(self) -> None:
        self.step(lambda job, now: transitions.requeue(job, job.attempt, now))

    @rule()
    def expire(self) -> None:
        self.deaths += self.step(transitions.expire)

    @invariant()
    def attempts_are_the_deaths_and_the_one_that_runs(self) -> None:
        assert self.job.attempt <= MAX_ATTEMPTS
        if self.job.state == JobState.QUEUED:
            assert self.job.attempt == self.deaths
        elif self.job.state == JobState.RUNNING:
            assert self.job.attempt == self.deaths + 1

    @invariant()
    def progress_grows(self) -> None:
        assert 0.0 <= self.job.progress <= 1.0
        if self.job.state == JobState.RUNNING:
            assert self.job.progress >= self.reached
            self.reached = self.job.progress

    @invariant()
    def an_acknowledged_cancel_wins(self) -> None:
        if self.stopping:
            assert self.job.state in (JobState.RUNNING, JobState.CANCELLED)

    @invariant()
    def an_ending_has_its_reasons(self) -> None:
        job = self.job
        assert job.state.finished == (job.finished_at is not None)
        assert bool(job.artifacts) == (job.state == JobState.SUCCEEDED)
        assert bool(job.error) == (job.state == JobState.FAILED)
        assert (job.worker != "") == (job.state == JobState.RUNNING) or job.state.finished
        if job.state == JobState.CANCELLED:
            assert self.stopping


TestAnyOrderOfSteps = JobMachine.TestCase
TestAnyOrderOfSteps.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
