"""How long jobs will take, from the paces of their models."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from framegate.core import availability
from framegate.core.estimates import Estimates, Outlook, work_of
from framegate.core.jobs import Job, JobState
from framegate.core.options import Duration
from framegate.core.ports import ModelPace
from framegate.core.registry import ModelConfig
from framegate.core.submission import Client
from tests.support.service_stand import ServiceStand


@pytest.fixture
async def stand(tmp_path: Path) -> ServiceStand:
    """A service whose model takes 10 s for the job that is submitted by default, and usually 20 s."""
    work = work_of(await ServiceStand(tmp_path / "other").submit())
    stand = ServiceStand(tmp_path)
    stand.store.paces["preview"] = ModelPace(10 / work, 20.0, 3)
    return stand


async def test_nothing_is_said_of_a_model_that_never_ran(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path)
    job = await stand.submit()
    assert await Estimates(stand.store).running_seconds(job) is None
    assert await stand.services.jobs.outlooks([job]) == [Outlook(1, None)]


async def test_a_job_takes_as_long_as_its_work(stand: ServiceStand) -> None:
    job, jobs, estimates = await stand.submit(), stand.services.jobs, Estimates(stand.store)
    [shot] = job.shots
    assert work_of(job) == shot.width * shot.height * shot.num_frames * shot.num_inference_steps
    assert await estimates.running_seconds(job) == pytest.approx(10)
    assert await estimates.running_seconds(replace(job, shots=(shot, shot))) == pytest.approx(20)
    running = replace(job, id="runs", state=JobState.RUNNING, progress=0.75)
    found = await jobs.outlooks([running, job, replace(job, state=JobState.FAILED)])
    assert [outlook.position for outlook in found] == [None, 1, None]
    assert [outlook.seconds_left for outlook in found] == [pytest.approx(2.5), pytest.approx(10), None]
    failed = replace(job, state=JobState.FAILED)
    assert await estimates.seconds_left(failed, position=None, workers=()) == 0


async def test_those_before_it_are_as_long_as_usual(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "RECENT_SECONDS", 0.0)
    jobs = [await stand.submit() for _ in range(3)]

    async def eta_seconds(job: Job, position: int) -> float | None:
        [outlook] = await stand.services.jobs.outlooks([job])
        assert outlook.position == position
        return outlook.seconds_left

    assert await eta_seconds(jobs[2], 3) == pytest.approx(2 * 20 + 10)
    [worker] = stand.store.living
    stand.store.living[:] = [replace(worker, job="another")]
    assert await eta_seconds(jobs[0], 1) == pytest.approx(20 / 2 + 10), "one runs, half of it done"
    stand.store.living.append(replace(worker, id="second"))
    assert await eta_seconds(jobs[2], 3) == pytest.approx(2 * 20 / 2 + 10), "two share the work"
    stand.store.living.clear()
    assert await eta_seconds(jobs[0], 1) is None


async def test_the_limit_of_a_job_is_part_of_its_record(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, models={"preview": ModelConfig(timeout=Duration(120))})
    job = await stand.submit()
    assert (job.timeout, job.timeout_setting) == (120, "models.preview.timeout")
    job = await stand.submit(client=Client("alice", timeout=90.0))
    assert (job.timeout, job.timeout_setting) == (90, "the timeout of the API key 'alice'")
    assert stand.store.jobs[-1].timeout == 90
