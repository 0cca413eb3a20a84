"""Drain and pause as operators call them."""

import logging
from typing import Any

import pytest
from msgspec.structs import replace

from framegate.core import audit
from framegate.core.availability import WorkerAvailability
from framegate.core.errors import InvalidRequest, ModelNotFound, ModelNotLoadable, WorkerNotFound
from framegate.core.models import ModelSpec
from framegate.core.operation_service import ModelOnWorker, ModelStatus, OperationService
from framegate.core.ports import Limits, LoadedState, ModelLoad, WorkerInfo
from framegate.core.registry import AliasConfig, Registry
from framegate.core.testing import InMemoryJobStore
from framegate.core.types import Task
from framegate.core.workers import WorkerState
from tests.support.sample_jobs import make_job

FIRST = WorkerInfo("id-1", "gpu1", 11, "cuda:0", "0.2", ("wan22",), 0.0)
SECOND = WorkerInfo("id-2", "gpu1", 12, "cuda:1", "0.2", ("wan22", "ltx2"), 0.0)
TWINS = [WorkerInfo(f"id-{pid}", "box", pid, "cpu", "0.2", ("ltx2",), 0.0) for pid in (21, 22)]


@pytest.fixture
def store() -> InMemoryJobStore:
    store = InMemoryJobStore()
    store.living += [FIRST, SECOND, *TWINS]
    return store


@pytest.fixture
def operations(store: InMemoryJobStore) -> OperationService:
    specs = [
        ModelSpec(id=name, summary="", backend="nowhere:Nothing", tasks=frozenset(Task))
        for name in ("wan22", "ltx2")
    ]
    registry = Registry({spec.id: spec for spec in specs}, aliases={"film": AliasConfig(model="wan22")})
    return OperationService(registry, store)


def names(workers: Any) -> list[str]:
    return [worker.name for worker in workers]


async def findings(store: InMemoryJobStore) -> tuple[str, ...]:
    return (await WorkerAvailability(store, grace=60).overview()).findings


async def states(operations: OperationService) -> dict[str, str]:
    return {worker.name: worker.state.value for worker in await operations.workers()}


async def test_workers_have_readable_names(operations: OperationService) -> None:
    assert names(await operations.workers()) == ["gpu1/cuda:0", "gpu1/cuda:1", "box/cpu/21", "box/cpu/22"]


@pytest.mark.parametrize(
    ("name", "drained"),
    [
        ("gpu1/cuda:0", ["gpu1/cuda:0"]),
        ("gpu1", ["gpu1/cuda:0", "gpu1/cuda:1"]),
        ("id-2", ["gpu1/cuda:1"]),
        ("box/cpu", ["box/cpu/21", "box/cpu/22"]),
        ("box/cpu/22", ["box/cpu/22"]),
    ],
)
async def test_each_name_drains_its_workers(
    operations: OperationService, store: InMemoryJobStore, name: str, drained: list[str]
) -> None:
    assert names(await operations.drain(name)) == drained
    found = await states(operations)
    assert [worker for worker, state in found.items() if state == WorkerState.DRAINED] == drained
    await store.submit(make_job("a"), limits=Limits())
    takers = [worker.name for worker in await operations.workers() if worker.state == WorkerState.IDLE]
    for worker in await operations.workers():
        claimed = store.claim_next(worker.id)
        assert (claimed is not None) == (worker.name in takers[:1])
    assert names(await operations.resume(name)) == drained
    assert set((await states(operations)).values()) == {"idle"}


async def test_a_busy_worker_is_draining(operations: OperationService, store: InMemoryJobStore) -> None:
    store.living[0] = replace(FIRST, job="a")
    assert (await states(operations))["gpu1/cuda:0"] == "busy"
    [worker] = await operations.drain("gpu1/cuda:0")
    assert (worker.state, worker.drained_by) == ("draining", ("gpu1/cuda:0",))


async def test_a_drained_host_outlives_its_workers(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    await operations.drain("gpu1")
    store.living.clear()
    assert list(await operations.drained()) == ["gpu1"]
    store.living.append(replace(FIRST, id="id-9", pid=99))
    assert await states(operations) == {"gpu1/cuda:0": "drained"}
    store.living.clear()
    assert await operations.resume("gpu1") == []
    assert not await operations.drained()


async def test_a_host_is_resumed_with_all_its_workers(operations: OperationService) -> None:
    for name in ("gpu1", "gpu1/cuda:0", "id-1", "box"):
        await operations.drain(name)
    with pytest.raises(InvalidRequest, match=r"together with the other workers of gpu1; resume gpu1\."):
        await operations.resume("gpu1/cuda:0")
    await operations.resume("gpu1")
    assert list(await operations.drained()) == ["box"]


async def test_a_device_is_resumed_with_its_workers(operations: OperationService) -> None:
    for name in ("gpu1/cuda:0", "id-1", "gpu1/cuda:1"):
        await operations.drain(name)
    await operations.resume("gpu1/cuda:0")
    assert (await states(operations))["gpu1/cuda:0"] == "idle"
    assert list(await operations.drained()) == ["gpu1/cuda:1"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gpu1/cuda:2", "Did you mean gpu1/cuda:"), ("gpu", "Did you mean gpu1?"), ("nothing", "There are box")],
)
async def test_an_unknown_worker_is_named(operations: OperationService, name: str, hint: str) -> None:
    for call in (operations.drain, operations.resume):
        with pytest.raises(WorkerNotFound, match="No live worker is called") as caught:
            await call(name)
        assert hint in caught.value.message
    assert not await operations.drained()


async def test_a_paused_model_starts_no_job(operations: OperationService, store: InMemoryJobStore) -> None:
    assert (await operations.pause("film")).id == "wan22"
    await store.submit(make_job("a", served_by="wan22"), limits=Limits())
    assert store.claim_next("id-1") is None
    [paused, other] = await operations.models()
    assert (paused.id, paused.workers, paused.paused_at is not None) == ("wan22", 2, True)
    assert (other.id, other.workers, other.paused_at) == ("ltx2", 3, None)
    assert await findings(store) == ("The model wan22 is paused; its jobs wait.",)
    assert (await operations.resume_model("film")).paused_at is None
    assert store.claim_next("id-1") is not None
    assert await findings(store) == ()
    with pytest.raises(ModelNotFound, match=r"^There is no model 'wan21'\. Did you mean wan22\?$"):
        await operations.pause("wan21")


async def test_a_model_that_is_no_longer_served_can_be_resumed(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    await store.operations.pause_model("gone")
    assert [status.id for status in await operations.models()] == ["wan22", "ltx2", "gone"]
    assert (await operations.resume_model("gone")).id == "gone"
    assert [status.id for status in await operations.models()] == ["wan22", "ltx2"]
    with pytest.raises(ModelNotFound):
        await operations.resume_model("gone")


async def test_findings_name_models_that_only_drained_workers_serve(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    await operations.drain("gpu1/cuda:0")
    assert await findings(store) == ()
    await operations.drain("gpu1")
    assert await findings(store) == ("All workers that serve wan22 are drained; the jobs wait.",)


async def test_all_of_it_is_recorded(operations: OperationService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=audit.LOGGER)
    await operations.drain("gpu1")
    await operations.resume("gpu1")
    await operations.pause("wan22")
    await operations.resume_model("wan22")
    await operations.load_model("wan22")
    await operations.unload_model("wan22")
    lines = [record.getMessage() for record in caplog.records if record.name == audit.LOGGER]
    events = ["worker_drained", "worker_resumed", "model_paused", "model_resumed"]
    for event in (*events, "model_load_requested", "model_unload_requested"):
        assert sum(event in line for line in lines) == 1, lines


def on_workers(status: ModelStatus) -> list[tuple[str, str, str | None]]:
    return [(each.worker, each.state.value, each.pending) for each in status.on_workers]


async def test_a_model_is_loaded_by_all_workers_that_serve_it(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    loads = {"wan22": ModelLoad(LoadedState.LOADED)}
    store.living[0] = replace(FIRST, carried_out={})
    store.living[1] = replace(SECOND, models=("ltx2",), resting={"wan22": "It broke."}, carried_out={})
    store.living.append(replace(FIRST, id="id-3", host="old"))
    status = await operations.load_model("film")
    assert status.load_requested_at is not None
    assert on_workers(status) == [
        ("gpu1/cuda:0", "unloaded", "load"),
        ("gpu1/cuda:1", "unloaded", "load"),
        ("old/cuda:0", "unknown", None),
    ]
    done = {"wan22": (await store.operations.model_requests())["wan22"].id}
    store.living[0] = replace(FIRST, carried_out=done, loads=loads)
    failed = ModelLoad(LoadedState.FAILED, "It broke.")
    store.living[1] = replace(SECOND, carried_out=done, loads={"wan22": failed})
    del store.living[-1]
    [status, other] = await operations.models()
    assert on_workers(status) == [("gpu1/cuda:0", "loaded", None), ("gpu1/cuda:1", "failed", None)]
    assert status.on_workers[1].reason == "It broke."
    assert other.load_requested_at is None
    status = await operations.unload_model("wan22")
    assert status.load_requested_at is None
    assert status.on_workers[0] == ModelOnWorker(
        worker="gpu1/cuda:0", state=status.on_workers[0].state, pending="unload"
    )


async def test_a_model_that_loads_now_waits_for_nothing(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    loads = {"wan22": ModelLoad(LoadedState.LOADING)}
    store.living[:] = [replace(FIRST, carried_out={}, loads=loads)]
    assert on_workers(await operations.load_model("wan22")) == [("gpu1/cuda:0", "loading", None)]


async def test_numbers_that_begin_again_are_of_other_requests(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    """After Valkey has lost data, whoever has carried out the first request still has to do the new one."""
    store.living[:] = [replace(FIRST, carried_out={"wan22": "1@5.000"})]
    assert on_workers(await operations.load_model("wan22")) == [("gpu1/cuda:0", "unloaded", "load")]


async def test_a_load_that_was_given_up_is_pending_nowhere(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    store.living[:] = [replace(FIRST, carried_out={})]
    before = (await operations.load_model("wan22"), await store.operations.model_requests())[1]["wan22"]
    store.operations.give_up_load("wan22", "A worker ended.")
    status = (await operations.models())[0]
    assert (status.load_requested_at, status.load_problem) == (None, "A worker ended.")
    assert on_workers(status) == [("gpu1/cuda:0", "unloaded", None)]
    assert (await store.operations.model_requests())["wan22"].id != before.id


async def test_a_model_that_has_become_an_alias_is_unloaded_by_that_name(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    await store.operations.request_model("film", load=True)  # when it was a model of its own
    await store.operations.request_model("wan22", load=True)
    assert (await operations.unload_model("film")).id == "wan22"
    assert not any(request.load for request in (await store.operations.model_requests()).values())


async def test_a_model_that_no_live_worker_serves_is_not_loaded(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    store.living[:] = TWINS
    with pytest.raises(ModelNotLoadable, match=r"^No live worker serves the model wan22, so none can load"):
        await operations.load_model("film")
    assert not await store.operations.model_requests()
    with pytest.raises(ModelNotFound, match=r"^There is no model 'wan21'\. Did you mean wan22\?$"):
        await operations.load_model("wan21")
    with pytest.raises(ModelNotFound):
        await operations.unload_model("gone")
    assert (await operations.unload_model("wan22")).on_workers == []


async def test_a_model_that_is_no_longer_served_can_be_unloaded(
    operations: OperationService, store: InMemoryJobStore
) -> None:
    await store.operations.request_model("gone", load=True)
    assert [status.id for status in await operations.models()] == ["wan22", "ltx2", "gone"]
    assert (await operations.unload_model("gone")).id == "gone"
    with pytest.raises(ModelNotFound):
        await operations.unload_model("gone")
    assert [status.id for status in await operations.models()] == ["wan22", "ltx2"]
