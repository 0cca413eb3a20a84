"""``/admin``: workers, models and usage, over a socket."""

import asyncio
import hashlib
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from framegate.core.dialect import DialectSpec
from framegate.core.ports import LoadedState, ModelLoad
from framegate.server.admin.router import admin_router
from framegate.server.dialect import Dialect, DialectContext
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.errors.problem import problem_response
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest
from tests.support.http_stand import WORKER, Stand, StandMaker

PROBLEM = "application/problem+json"
TASK = {"prompt": "x"}


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-key"}


def call(stand: Stand, method: str, path: str, by: str = "root", prefix: str = "/admin") -> requests.Response:
    return requests.request(method, f"{stand.url}{prefix}{path}", headers=bearer(by), timeout=30)


def submit(stand: Stand, by: str = "alice") -> requests.Response:
    return requests.post(f"{stand.url}/v1/tasks/video", json=TASK, headers=bearer(by), timeout=30)


KEYS = [
    {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), "scopes": scopes}
    for name, scopes in (("root", ["admin"]), ("alice", ["submit", "read"]), ("bob", ["submit", "read"]))
]


@pytest.fixture
def guarded(make_stand: StandMaker) -> Stand:
    stand = make_stand(auth={"keys": KEYS})
    stand.store.living += [
        replace(WORKER, id="w2", device="cuda:0", video_encoder="h264_nvenc"),
        replace(WORKER, id="w3", pid=2),
    ]
    return stand


def states(body: Any) -> dict[str, str]:
    return {item["name"]: item["state"] for item in body["items"]}


def test_workers_are_drained_and_resumed(guarded: Stand) -> None:
    listed = call(guarded, "GET", "/workers").json()
    assert states(listed) == {"here/cpu/1": "idle", "here/cuda:0": "idle", "here/cpu/2": "idle"}
    assert listed["items"][1] == {
        "name": "here/cuda:0",
        "state": "idle",
        "id": "w2",
        "host": "here",
        "device": "cuda:0",
        "pid": 1,
        "version": "0",
        "models": ["preview"],
        "job": None,
        "started_at": "1970-01-01T00:00:00Z",
        "drained_by": [],
        "problems": [],
        "video_encoder": "h264_nvenc",
        "loads": {},
    }
    assert [item["video_encoder"] for item in listed["items"]] == [None, "h264_nvenc", None]
    for name, drained in (
        ("here/cuda:0", ["here/cuda:0"]),
        ("here%2Fcuda:0", ["here/cuda:0"]),
        ("here/cpu/2", ["here/cpu/2"]),
        ("here", ["here/cpu/1", "here/cpu/2", "here/cuda:0"]),
        ("w2", ["here/cuda:0"]),
    ):
        answer = call(guarded, "POST", f"/workers/{name}/drain")
        assert answer.status_code == 200, answer.text
        assert sorted(states(answer.json())) == drained
        assert len(answer.json()["drained"]) == 1
        found = states(call(guarded, "GET", "/workers").json())
        assert sorted(worker for worker, state in found.items() if state == "drained") == drained
        resumed = call(guarded, "POST", f"/workers/{name}/resume").json()
        assert sorted(states(resumed)) == drained
        assert set(states(resumed).values()) == {"idle"}
        assert resumed["drained"] == {}


def test_a_drained_worker_gets_no_job_and_jobs_are_accepted(guarded: Stand) -> None:
    call(guarded, "POST", "/workers/here/drain")
    assert submit(guarded).status_code == 200
    assert guarded.store.claim_next("w1") is None
    call(guarded, "POST", "/workers/here/resume")
    assert guarded.store.claim_next("w1") is not None


def test_models_are_paused_and_resumed(guarded: Stand) -> None:
    [model] = call(guarded, "GET", "/models").json()["items"]
    assert model == {
        "id": "preview",
        "backend": "nowhere:Nothing",
        "workers": 3,
        "paused_at": None,
        "load_requested_at": None,
        "load_problem": None,
        "on_workers": [
            {"worker": name, "state": "unknown", "reason": None, "pending": None}
            for name in ("here/cpu/1", "here/cuda:0", "here/cpu/2")
        ],
    }
    paused = call(guarded, "POST", "/models/sora-2/pause").json()
    assert (paused["id"], paused["paused_at"][-1]) == ("preview", "Z")
    assert call(guarded, "POST", "/models/preview/pause").json() == paused, "since when stays"
    assert call(guarded, "GET", "/models").json()["items"] == [paused]
    assert submit(guarded).status_code == 200
    assert guarded.store.claim_next("w1") is None
    assert call(guarded, "POST", "/models/preview/resume").json() == model
    assert guarded.store.claim_next("w1") is not None


def test_models_are_loaded_and_unloaded(guarded: Stand) -> None:
    failed = ModelLoad(LoadedState.FAILED, "Its weights are damaged.")
    guarded.store.living[:] = [
        replace(WORKER, carried_out={}),
        replace(WORKER, id="w2", device="cuda:0", carried_out={}, loads={"preview": failed}),
    ]
    call(guarded, "POST", "/models/sora-2/load")
    requested = asyncio.run(guarded.store.operations.model_requests())["preview"]
    guarded.store.living[1] = replace(guarded.store.living[1], carried_out={"preview": requested.id})
    loaded = call(guarded, "GET", "/models").json()["items"][0]
    assert (loaded["id"], loaded["load_requested_at"][-1]) == ("preview", "Z")
    assert loaded["on_workers"] == [
        {"worker": "here/cpu", "state": "unloaded", "reason": None, "pending": "load"},
        {"worker": "here/cuda:0", "state": "failed", "reason": "Its weights are damaged.", "pending": None},
    ]
    workers = call(guarded, "GET", "/workers").json()["items"]
    assert [each["loads"] for each in workers] == [
        {},
        {"preview": {"state": "failed", "reason": "Its weights are damaged."}},
    ]
    unloaded = call(guarded, "POST", "/models/preview/unload").json()
    assert unloaded["load_requested_at"] is None
    assert [each["pending"] for each in unloaded["on_workers"]] == ["unload", "unload"]


def test_a_model_without_a_worker_is_not_loaded(guarded: Stand) -> None:
    guarded.store.living.clear()
    answer = call(guarded, "POST", "/models/preview/load")
    assert (answer.status_code, answer.headers["Content-Type"]) == (409, PROBLEM)
    assert answer.json()["detail"].startswith("No live worker serves the model preview")


def test_what_is_held_back_is_a_problem_and_no_error(guarded: Stand) -> None:
    call(guarded, "POST", "/models/preview/pause")
    answer = call(guarded, "GET", "/status", prefix="")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert answer.json()["problems"] == ["The model preview is paused; its jobs wait."]


def test_usage_by_day_and_key(guarded: Stand) -> None:
    for by in ("alice", "alice", "bob"):
        submit(guarded, by)
    ended = guarded.run_next()
    report = call(guarded, "GET", "/usage").json()
    assert [(item["key"], item["jobs"], item["succeeded"]) for item in report["items"]] == [
        ("alice", 2, 1),
        ("bob", 1, 0),
    ]
    ran = (ended.finished_at or 0.0) - (ended.started_at or 0.0)
    day = report["items"][0].pop("day")
    assert report["items"][0] == {
        "key": "alice",
        "jobs": 2,
        "succeeded": 1,
        "failed": 0,
        "cancelled": 0,
        "gpu_seconds": pytest.approx(ran, abs=1e-6),
        "input_bytes": 0,
        "result_bytes": sum(made.size for made in ended.artifacts),
    }
    assert (report["total"]["jobs"], report["total"]["gpu_seconds"]) == (3, pytest.approx(ran, abs=1e-6))
    for query in ("?key=bob", f"?key=bob&day={day}", "?key=bob&days=400"):
        [item] = call(guarded, "GET", f"/usage{query}").json()["items"]
        assert (item["key"], item["day"], item["jobs"]) == ("bob", day, 1)
    assert call(guarded, "GET", "/usage?day=2001-01-01").json()["items"] == []


REFUSALS = [
    ("POST", "/workers/nowhere/drain", 404, "No live worker is called 'nowhere'"),
    ("POST", "/workers/here/cuda:1/drain", 404, "Did you mean here/cuda:0?"),
    ("POST", "/workers/here/cpu/9/resume", 404, "Did you mean here/cpu/"),
    ("POST", "/models/previw/pause", 404, "Did you mean preview?"),
    ("POST", "/models/nothing/resume", 404, "nothing"),
    ("POST", "/models/previw/load", 404, "Did you mean preview?"),
    ("POST", "/models/Owner/preview/load", 404, "There is no model 'Owner/preview'. Did you mean preview?"),
    ("POST", "/models/Owner%2Fpreview/pause", 404, "There is no model 'Owner/preview'."),
    ("POST", "/models/nothing/unload", 404, "nothing"),
    ("GET", "/usage?days=0", 422, "days"),
    ("GET", "/usage?days=401", 422, "days"),
    ("GET", "/usage?days=many", 422, "days"),
    ("GET", "/usage?day=tomorrow", 422, "day"),
    ("DELETE", "/workers", 405, "Method Not Allowed"),
]


def test_refusals_are_problems(guarded: Stand) -> None:
    for method, path, status, words in REFUSALS:
        answer = call(guarded, method, path)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"].startswith(PROBLEM)
        assert words in answer.json()["detail"]


ROUTES = [
    ("GET", "/workers"),
    ("POST", "/workers/here/drain"),
    ("POST", "/workers/here/cuda:0/resume"),
    ("GET", "/models"),
    ("POST", "/models/preview/pause"),
    ("POST", "/models/preview/resume"),
    ("POST", "/models/preview/load"),
    ("POST", "/models/preview/unload"),
    ("GET", "/usage"),
]


def test_all_of_it_needs_the_scope(guarded: Stand) -> None:
    for method, path in ROUTES:
        assert call(guarded, method, path, by="alice").status_code == 403
        assert call(guarded, method, path, by="nobody").status_code == 401
    assert set(states(call(guarded, "GET", "/workers").json()).values()) == {"idle"}
    assert call(guarded, "GET", "/models").json()["items"][0]["paused_at"] is None


def create_other(context: DialectContext) -> Dialect:
    """A dialect that mounts the same routes below its own prefix."""

    def error_response(request: HTTPRequest, info: ErrorInfo) -> Any:
        return problem_response(info, request_id_of(request.scope))

    return Dialect(handlers=[admin_router()], path_prefixes=("/admin",), error_response=error_response)


def test_a_dialect_mounts_the_same_routes_and_never_opens_them(make_stand: StandMaker) -> None:
    spec = DialectSpec(name="other", summary="", factory=f"{__name__}:create_other")
    for auth in (True, False):
        stand = make_stand(
            {"other": {"prefix": "/api", "auth": auth}}, dialects={"other": spec}, auth={"keys": KEYS}
        )
        for method, path in ROUTES:
            for prefix in ("/api/admin", "/admin"):
                if "cuda" not in path:
                    assert call(stand, method, path, prefix=prefix).status_code == 200
                assert call(stand, method, path, "alice", prefix).status_code == 403
                assert call(stand, method, path, "nobody", prefix).status_code == 401
                assert requests.request(method, stand.url + prefix + path, timeout=30).status_code == 401


def test_they_are_documented(guarded: Stand) -> None:
    paths = requests.get(f"{guarded.url}/openapi.json", timeout=30).json()["paths"]
    for path, method in (
        ("/admin/workers", "get"),
        ("/admin/workers/{host}/drain", "post"),
        ("/admin/workers/{host}/{device}/resume", "post"),
        ("/admin/models/{name}/pause", "post"),
        ("/admin/models/{name}/load", "post"),
        ("/admin/models/{name}/unload", "post"),
        ("/admin/usage", "get"),
    ):
        operation = paths[path][method]
        assert operation["tags"] == ["admin"]
        assert operation["security"] == [{"bearer": []}]
        assert PROBLEM in operation["responses"]["default"]["content"]
    ids = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(ids) == len(set(ids))
