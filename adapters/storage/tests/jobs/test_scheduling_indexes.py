"""The indexes over lanes: what claims and positions cost, and how the indexes are mended."""

import random
from collections.abc import Callable, Sequence
from typing import cast

import pytest
import redis
import structlog

from framegate.core.jobs import Job, JobState
from framegate.core.ports import Limits
from framegate.core.testing import scheduling
from framegate.storage import scripts
from framegate.storage.jobs.records import PREFIX
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.submissions import lane_of
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.older_versions import as_older_version
from tests.support.sample_jobs import make_job

ANY = Limits()
BUSY = {"model:test": 1}


async def submit(store: ValkeyJobStore, *jobs: Job) -> None:
    for job in jobs:
        await store.submit(job, limits=ANY)


def claim(client: redis.Redis, worker: str = "w", models: Sequence[str] = ("test",)) -> str | None:
    job = WorkerStore(client, worker).claim("q-test", models)
    return job.id if job else None


def run_next(client: redis.Redis, models: Sequence[str] = ("test",)) -> str | None:
    worker = WorkerStore(client, "runs-next")
    job = worker.claim("q-test", models)
    if job is None:
        return None
    worker.succeed(job, ())
    return job.id


def commands_of(client: redis.Redis, call: Callable[[], object]) -> int:
    """Return how many commands Valkey has run for a script call, the call among them."""
    client.config_resetstat()
    call()
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    return sum(entry["calls"] for entry in stats.values())


def waiting_keys(client: redis.Redis) -> set[str]:
    """Return the keys that say that jobs wait."""
    kinds = ["queued", "queuedby", "levels", "turns", "lanes", "lane", "places", "bucket", "buckets"]
    kinds += ["waiting", "waitingby", "depths"]
    patterns = [*(f"{PREFIX}{kind}:*" for kind in kinds), f"{PREFIX}closed"]
    return {key for pattern in patterns for key in cast("list[str]", client.keys(pattern))}


async def test_claims_and_positions_cost_the_same_however_many_owners_wait(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Some wait for a busy model, some for one that the worker has not, some for their own limit."""
    position = client.register_script(scripts.QUEUE_POSITION)

    def cost_of_nothing() -> int:
        return commands_of(client, lambda: claim(client, "idle"))

    def cost_of_position(job_id: str) -> int:
        return commands_of(client, lambda: position(keys=[PREFIX], args=[job_id]))

    await submit(store, make_job("busy", running_limits=BUSY))
    assert claim(client, "holder") == "busy"
    costs: list[tuple[int, int]] = []
    for owners in (range(20), range(20, 160)):
        for number in owners:
            owner = f"owner{number}"
            own = {f"key:{owner}": 1}
            await submit(
                store,
                make_job(f"busy{number}", owner=owner, running_limits={**BUSY, **own}),
                make_job(f"foreign{number}", owner=owner, served_by="foreign", running_limits=own),
                make_job(f"own{number}", owner=owner, running_limits=own),
            )
            assert claim(client, f"w{number}") == f"own{number}"
            await submit(store, make_job(f"second{number}", owner=owner, running_limits=own))
        last = f"second{owners[-1]}"
        assert claim(client, "idle") is None
        assert cost_of_position(last) > 1, "Valkey knows the script from here on"
        costs.append((cost_of_nothing(), cost_of_position(last)))
    few, many = costs
    assert many[0] <= few[0]
    assert many[1] <= few[1] + 10, "the logarithm of their number"


async def test_jobs_of_a_later_version_stand_in_nobodys_way(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """Nor does it take time to pass over them."""
    for number in range(200):
        await submit(store, make_job(f"later{number}", owner=f"a{number:03}"))
        client.hset(f"{PREFIX}job:later{number}", "schema", 99)
    await submit(store, make_job("ours", owner="b"))
    assert run_next(client) == "ours"
    assert run_next(client) is None
    assert commands_of(client, lambda: claim(client)) < 30


async def test_a_lane_that_0_1_must_not_open_names_its_model_elsewhere(
    store: ValkeyJobStore, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = '["q-test","0","alice",{"key:alice":0},"","test"]'

    def compact_lane(job: Job) -> str:
        assert job.served_by == "test"
        return lane

    monkeypatch.setattr("framegate.storage.jobs.submissions.lane_of", compact_lane)
    await submit(store, make_job("compact", owner="alice"))
    assert claim(client, models=[""]) is None
    assert claim(client, models=["test"]) == "compact"


async def test_a_limit_holds_over_queues_and_what_it_closes_opens_again(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    limits = {"key:alice": 1}
    await submit(
        store,
        make_job("first", owner="alice", running_limits=limits),
        make_job("elsewhere", owner="alice", queue="q-other", running_limits=limits),
        make_job("urgent", owner="alice", priority=3, running_limits={"key:alice": 2}),
    )
    worker, other = WorkerStore(client, "w"), WorkerStore(client, "other")
    urgent = worker.claim("q-test", ["test"])
    assert urgent is not None
    assert urgent.id == "urgent"
    assert other.claim("q-other", ["test"]) is None
    await submit(store, make_job("late", owner="alice", running_limits=limits))
    assert claim(client, "third") is None
    assert client.zscore(f"{PREFIX}closed", "alice") == 2, "late waits in the lane of first"
    worker.succeed(urgent, ())
    assert not client.exists(f"{PREFIX}closed")
    elsewhere = other.claim("q-other", ["test"])
    assert elsewhere is not None
    assert elsewhere.id == "elsewhere"


async def test_a_place_that_an_older_version_frees_is_found_by_the_sweep(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    limits = {"key:alice": 1}
    for name in ("running", "next"):
        await submit(store, make_job(name, owner="alice", running_limits=limits))
    worker = WorkerStore(client, "w")
    running = worker.claim("q-test", ["test"])
    assert running is not None
    with as_older_version(client):
        worker.succeed(running, ())
    assert claim(client) is None
    worker.sweep()
    assert claim(client) == "next"


async def test_whom_an_older_version_has_served_is_not_next(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    for name in ("alice1", "alice2", "bob1"):
        await submit(store, make_job(name, owner=name[:-1]))
    with as_older_version(client):
        assert run_next(client) == "alice1"
    assert run_next(client) == "bob1"
    assert run_next(client) == "alice2"
    WorkerStore(client, "w").sweep()
    assert waiting_keys(client) == set()


async def test_as_many_jobs_may_come_as_go(store: ValkeyJobStore, client: redis.Redis) -> None:
    """The numbers agree after an older version claimed one job and submitted another."""
    await submit(store, make_job("gone", owner="alice"))
    with as_older_version(client):
        assert run_next(client) == "gone"
        await submit(store, make_job("new", owner="bob"))
    WorkerStore(client, "w").sweep()
    assert client.hkeys(f"{PREFIX}waiting:q-test") == ["new"]
    assert claim(client) == "new"


async def test_a_claim_finds_what_an_older_version_submitted_before_any_sweep(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    with as_older_version(client):
        for number in range(30):
            await submit(store, make_job(f"j{number:02}", owner=f"o{number:02}"))
    assert [run_next(client) for _ in range(31)] == [*(f"j{number:02}" for number in range(30)), None]


async def test_a_sweep_mends_one_queue_after_the_other(store: ValkeyJobStore, client: redis.Redis) -> None:
    """After an update from 0.1 none of them is known, and Valkey does nothing else during a sweep."""
    queues = [f"q-{number}" for number in range(12)]
    with as_older_version(client):
        for queue in queues:
            await submit(store, *(make_job(f"{queue}-{number}", queue=queue) for number in range(5)))
    client.sadd(f"{PREFIX}queues", *queues)
    worker = WorkerStore(client, "w")
    for _ in queues:
        before = _known(client, queues)
        worker.sweep()
        assert _known(client, queues) - before <= 3 * 5
    assert _known(client, queues) == 12 * 5
    assert [len(client.keys(f"{PREFIX}tickets:{queue}")) for queue in queues] == [1] * 12


def _known(client: redis.Redis, queues: Sequence[str]) -> int:
    return sum(client.hlen(f"{PREFIX}waiting:{queue}") for queue in queues)


async def test_a_sweep_writes_nothing_where_nothing_is_wrong(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    limits = {"key:alice": 1}
    for number in range(60):
        await submit(store, make_job(f"j{number}", owner="alice", running_limits=limits))
    assert claim(client)
    worker = WorkerStore(client, "sweeper")
    for _ in range(3):
        worker.sweep()
    client.config_resetstat()
    worker.sweep()
    stats = cast("dict[str, dict[str, int]]", client.info("commandstats"))
    run = {name.removeprefix("cmdstat_") for name in stats}
    assert "hmget" in run
    assert not run & {"zrem", "zincrby", "hset", "hdel", "srem"}


@pytest.mark.parametrize("evicted", [1, 50])
async def test_jobs_whose_records_are_gone_are_dropped_by_a_claim(
    store: ValkeyJobStore, client: redis.Redis, evicted: int
) -> None:
    """As under a server that evicts keys; one such record stopped the queue for all owners."""
    for number in range(evicted):
        await submit(store, make_job(f"lost{number}", owner=f"a{number % 7}"))
        client.delete(f"{PREFIX}job:lost{number}")
    await submit(store, make_job("kept", owner="b"))
    with structlog.testing.capture_logs() as logs:
        assert run_next(client) == "kept"
        assert run_next(client) is None
    lost = [job_id for line in logs if line["event"] == "records_missing" for job_id in line["job_ids"]]
    assert sorted(lost) == sorted(f"lost{number}" for number in range(evicted))
    assert waiting_keys(client) == set()
    assert (await store.counts()).queued == 0
    assert client.zrange(f"{PREFIX}jobs", 0, -1) == ["kept"]
    assert not client.exists(f"{PREFIX}owner:a0")


async def test_jobs_whose_records_are_gone_are_dropped_by_the_sweep(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """So they don't count in the limits of their owners either."""
    await submit(store, make_job("lost", owner="alice", served_by="absent"))
    await submit(store, make_job("kept", owner="alice"))
    client.delete(f"{PREFIX}job:lost")
    with structlog.testing.capture_logs() as logs:
        WorkerStore(client, "w").sweep()
    assert [line["job_ids"] for line in logs if line["event"] == "records_missing"] == [["lost"]]
    assert client.smembers(f"{PREFIX}queuedby:alice") == {"kept"}
    assert run_next(client) == "kept"
    assert waiting_keys(client) == set()


async def test_the_id_of_a_lost_record_is_used_again(store: ValkeyJobStore, client: redis.Redis) -> None:
    await submit(store, make_job("again", owner="alice"), make_job("behind", owner="alice"))
    client.delete(f"{PREFIX}job:again")
    await submit(store, make_job("again", owner="bob"))
    assert [run_next(client) for _ in range(3)] == ["behind", "again", None]
    WorkerStore(client, "w").sweep()
    assert waiting_keys(client) == set()


@pytest.mark.parametrize("kind", ["turns", "levels", "lanes"])
async def test_lists_of_lanes_that_are_gone_come_back(
    store: ValkeyJobStore, client: redis.Redis, kind: str
) -> None:
    await submit(store, make_job("first", owner="alice"), make_job("second", owner="alice"))
    client.delete(*client.keys(f"{PREFIX}{kind}:*"))
    worker = WorkerStore(client, "w")
    worker.sweep()
    assert [run_next(client), run_next(client)] == ["first", "second"]


def lined_up(draw: random.Random, owners: int, most: int) -> list[Job]:
    """Return jobs of many owners in random order, some of a higher priority."""
    jobs = [
        make_job(f"{owner}-{number}", owner=f"o{owner}", priority=draw.choice([0, 0, 0, 2]))
        for owner in range(owners)
        for number in range(draw.choice([1, 1, 2, draw.randint(1, most)]))
    ]
    draw.shuffle(jobs)
    return jobs


async def serve_some(
    store: ValkeyJobStore, client: redis.Redis, jobs: list[Job]
) -> tuple[list[Job], dict[scheduling.SchedulingKey, int]]:
    """Submit the jobs and run some of them; return those that wait, and when owners were served."""
    await submit(store, *jobs)
    waiting, served = list(jobs), dict[scheduling.SchedulingKey, int]()
    for turn in range(1, len(jobs) // 4):
        expected = scheduling.next_job(waiting, (), served, "q-test", ["test"])
        assert expected is not None
        assert run_next(client) == expected.id
        served[scheduling.scheduling_key(expected)] = turn
        waiting.remove(expected)
    return waiting, served


async def test_positions_are_exact_among_many_owners(store: ValkeyJobStore, client: redis.Redis) -> None:
    draw = random.Random(3)
    waiting, served = await serve_some(store, client, lined_up(draw, 60, 25))
    assert {job.state for job in waiting} == {JobState.QUEUED}
    expected = [scheduling.position(job, waiting, served) for job in waiting]
    assert await store.queue_positions(waiting) == expected


async def test_a_position_behind_many_of_its_owner_is_exact(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    """As the number of owners who have that many jobs changes in few places."""
    bounds = "MAX_STEPS, MAX_OWNERS = 200, 500"
    jobs = [make_job(f"big{number}", owner="big") for number in range(300)]
    jobs += [make_job(f"{owner}-{number}", owner=f"o{owner}") for owner in range(20) for number in range(3)]
    await submit(store, *jobs)
    position = client.register_script(
        scripts.QUEUE_POSITION.replace(bounds, "MAX_STEPS, MAX_OWNERS = 20, 20")
    )
    assert position.script != scripts.QUEUE_POSITION
    for number in (1, 2, 3, 4, 150, 299):
        exact = scheduling.position(jobs[number], jobs, {})
        assert position(keys=[PREFIX], args=[f"big{number}"]) == [exact]


@pytest.mark.parametrize(("steps", "owners"), [(200, 5), (3, 500), (3, 1)])
async def test_positions_are_near_where_counting_would_take_too_long(
    store: ValkeyJobStore, client: redis.Redis, steps: int, owners: int
) -> None:
    bounds = "MAX_STEPS, MAX_OWNERS = 200, 500"
    assert bounds in scripts.QUEUE_POSITION
    position = client.register_script(
        scripts.QUEUE_POSITION.replace(bounds, f"MAX_STEPS, MAX_OWNERS = {steps}, {owners}")
    )
    draw = random.Random(4)
    waiting, served = await serve_some(store, client, lined_up(draw, 60, 25))
    level = len({job.owner for job in waiting})
    for job in draw.sample(waiting, 60):
        [found] = position(keys=[PREFIX], args=[job.id])
        exact = scheduling.position(job, waiting, served)
        assert abs(found - exact) <= max(level / 4, exact / 10), job.id


async def test_the_lane_of_a_damaged_record_is_remembered(store: ValkeyJobStore, client: redis.Redis) -> None:
    job = make_job("damaged", owner="alice", running_limits=BUSY)
    await submit(store, job, make_job("sound", owner="bob", running_limits=BUSY))
    client.hset(f"{PREFIX}job:damaged", "lane", "[")
    worker = WorkerStore(client, "w")
    claimed = worker.claim("q-test", ["test"])
    assert claimed is not None
    assert claimed.id == "damaged"
    assert client.smembers(f"{PREFIX}running:model:test") == {"damaged"}
    assert not client.exists(f"{PREFIX}lane:{lane_of(job)}")
    worker.succeed(claimed, ())
    assert run_next(client) == "sound"
