"""The app: mounting, unexpected errors, health, logs, docs."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
import requests
import structlog
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError
from framegate.core.types import GenerationRequest, Task
from framegate.core.wiring import CoreServices
from framegate.server.app import create_app
from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.limits.limiter import RateLimiter
from framegate.server.process_state import ProcessState
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from tests.support.http_stand import Stand, StandMaker, make_settings, own_dialects
from tests.support.running import eventually


def rendered(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    return Response({"oops": error_info.message}, status_code=error_info.status)


def shares_a_path(context: DialectContext) -> Dialect:
    """Read tasks by id at the path where another dialect deletes them."""

    @get("/v1/tasks/{task_id:str}")
    async def show(task_id: FromPath[str]) -> dict[str, str]:
        if task_id == "boom":
            raise RuntimeError("/etc/secret sk-12345")
        return {"shown": task_id}

    return Dialect(handlers=[show], error_response=rendered, path_prefixes=("/v1/shared",))


class NoteController(Controller):
    path = "/notes"

    @post("/", status_code=200)
    async def submit(self, client_jobs: NamedDependency[ClientJobs]) -> dict[str, str]:
        job = await client_jobs.submit(GenerationRequest("preview", Task.TEXT_TO_VIDEO, "a boat"))
        return {"id": job.id}

    @get("/{note_id:str}")
    async def show(
        self,
        client_jobs: NamedDependency[ClientJobs],
        services: NamedDependency[CoreServices],
        greeting: NamedDependency[str],
        note_id: FromPath[str],
    ) -> dict[str, str]:
        job = await client_jobs.find_own_job(note_id, noun="note")
        return {"greeting": greeting, "served_by": services.jobs.registry.resolve(job.model).spec.id}


class RootController(Controller):
    @get("/notes-at-the-root")
    async def show(self, greeting: NamedDependency[str]) -> str:
        return greeting


def has_controllers(context: DialectContext) -> Dialect:
    return Dialect(
        handlers=[NoteController],
        root_handlers=[RootController],
        dependencies={"greeting": provide_instance("hello")},
        error_response=rendered,
        path_prefixes=("/notes",),
    )


def clashes(context: DialectContext) -> Dialect:
    @get("/v1/tasks/{id:str}/status")
    async def show(id: FromPath[str]) -> str:  # noqa: A002 # another name for the same place is the point
        return id

    return Dialect(handlers=[show], error_response=rendered, path_prefixes=("/v1/clash",))


def other(name: str) -> dict[str, DialectSpec]:
    return {name: DialectSpec(name, "A dialect of a plugin", f"{__name__}:{name.replace('-', '_')}")}


def test_dialects_share_a_path(make_stand: StandMaker) -> None:
    deleting = {"lightx2v": own_dialects()["lightx2v"]}
    stand = make_stand(dialects={**deleting, **other("shares-a-path")})
    assert requests.get(f"{stand.url}/v1/tasks/abc", timeout=10).json() == {"shown": "abc"}
    assert requests.delete(f"{stand.url}/v1/tasks/abc", timeout=10).json()["stop_status"] == "do_nothing"
    wrong = requests.put(f"{stand.url}/v1/tasks/abc", timeout=10)
    assert wrong.status_code == 405
    assert "detail" in wrong.json()
    assert set(re.findall("[A-Z]+", wrong.headers["Allow"])) >= {"GET", "DELETE"}
    paths = requests.get(f"{stand.url}/openapi.json", timeout=10).json()["paths"]
    assert {"get", "delete"} <= paths["/v1/tasks/{task_id}"].keys()


def test_types_of_one_name_have_schemas_of_their_own(shared_stand: Stand) -> None:
    document = requests.get(f"{shared_stand.url}/openapi.json", timeout=10).json()

    def properties(path: str, *steps: str) -> set[str]:
        described = document["paths"][path]["post"]
        for step in (*steps, "content", "application/json", "schema", "$ref"):
            described = described[step]
        return set(document["components"]["schemas"][described.rpartition("/")[2]]["properties"])

    bodies = {
        "/v1/tasks/video": {"detail"},
        "/predict": {"error", "errors"},
        "/video/submit": {"detail"},
        "/v1/videos": {"error"},
        "/v1/chat/completions": {"error"},
    }
    assert {path: properties(path, "responses", "default") for path in bodies} == bodies
    edit = properties("/v1/videos/edits", "requestBody")
    assert "seconds" in edit
    assert not edit & {"image", "mask", "quality"}


def test_controllers_get_their_dependencies(make_stand: StandMaker) -> None:
    dialects = {"lightx2v": own_dialects()["lightx2v"], **other("has-controllers")}
    stand = make_stand({"has-controllers": {"prefix": "/deep"}}, dialects=dialects)
    note = requests.post(f"{stand.url}/deep/notes", timeout=10).json()["id"]
    assert stand.job(note).dialect == "has-controllers"
    shown = requests.get(f"{stand.url}/deep/notes/{note}", timeout=10)
    assert shown.json() == {"greeting": "hello", "served_by": "preview"}
    assert requests.get(f"{stand.url}/notes-at-the-root", timeout=10).text == "hello"
    assert requests.get(f"{stand.url}/deep/notes-at-the-root", timeout=10).status_code == 404
    requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "t1"}, timeout=10)
    for missing in ("t1", "none"):
        answer = requests.get(f"{stand.url}/deep/notes/{missing}", timeout=10)
        assert (answer.status_code, answer.json()) == (404, {"oops": f"There is no note {missing!r}."})


def test_options_need_no_key(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [{"name": "a", "sha256": "0" * 64}]})
    answer = requests.options(f"{stand.url}/v1/tasks/video", timeout=10)
    assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")
    assert requests.post(f"{stand.url}/v1/tasks/video", timeout=10).status_code == 401


def test_a_fault_is_not_shown_but_logged(make_stand: StandMaker) -> None:
    stand = make_stand(dialects=other("shares-a-path"))
    with structlog.testing.capture_logs() as logs:
        answer = requests.get(f"{stand.url}/v1/tasks/boom", timeout=10)
    assert answer.status_code == 500
    assert answer.json() == {"oops": f"Internal error. (request {answer.headers['X-Request-ID']})"}
    (failure,) = (line for line in logs if line["event"] == "request_failed")
    assert isinstance(failure["exc_info"], RuntimeError)


def refuse(stand: Stand, specs: Mapping[str, DialectSpec], options: Mapping[str, Any], **tables: Any) -> str:
    settings = make_settings(stand.folder, options, **tables)
    with pytest.raises(ConfigError) as caught:
        create_app(
            services=stand.services,
            settings=settings,
            dialects=specs,
            process=ProcessState(RateLimiter(stand.rates)),
        )
    return caught.value.message


def test_a_clash_names_both(shared_stand: Stand) -> None:
    message = refuse(shared_stand, {**own_dialects(), **other("clashes")}, {})
    assert "lightx2v" in message
    assert "clashes" in message
    assert "/v1/tasks/{id:str}/status" in message
    create_app(
        services=shared_stand.services,
        settings=make_settings(shared_stand.folder, {"clashes": {"prefix": "/other"}}),
        dialects={**own_dialects(), **other("clashes")},
        process=ProcessState(RateLimiter(shared_stand.rates)),
    )


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"lightx2v": {"vocabulary": "klingon"}}, "dialects.lightx2v.vocabulary"),
        ({"lightx2v": {"colour": 1}}, "dialects.lightx2v.colour"),
        ({"lightx2v": {"prefix": "no/slash"}}, "dialects.lightx2v.prefix"),
        ({"lightx2v": {"prefix": 5}}, "dialects.lightx2v.prefix"),
        ({"lightx2v": {"auth": "yes"}}, "dialects.lightx2v.auth"),
        ({"wan22-predict": {"timeout": 0}}, "dialects.wan22-predict.timeout"),
        ({"nonsense": {}}, "lightx2v"),
    ],
)
def test_wrong_options_are_named(shared_stand: Stand, options: dict[str, Any], named: str) -> None:
    assert named in refuse(shared_stand, own_dialects(), options)


def test_unknown_dialects_are_named(shared_stand: Stand) -> None:
    message = refuse(shared_stand, own_dialects(), {}, dialects={"enabled": ["wan23"]})
    assert "'wan23'" in message
    assert "wan22-predict" in message


def test_only_enabled_dialects_answer(make_stand: StandMaker) -> None:
    stand = make_stand(dialects={k: v for k, v in own_dialects().items() if k == "lightx2v"})
    assert requests.post(f"{stand.url}/predict", json={"prompt": "x"}, timeout=10).status_code == 404


def test_request_ids(shared_stand: Stand) -> None:
    url = f"{shared_stand.url}/health"
    assert (
        requests.get(url, headers={"X-Request-ID": "abc-1.2_X"}, timeout=10).headers["X-Request-ID"]
        == "abc-1.2_X"
    )
    for bad in ("a b", "x" * 65, "<script>"):
        made = requests.get(url, headers={"X-Request-ID": bad}, timeout=10).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", made)


def test_one_line_for_each_request(make_stand: StandMaker) -> None:
    stand = make_stand()
    lines: list[dict[str, Any]] = []

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        lines.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, keep])
    try:
        sent = {"prompt": "a secret wish", "task_id": "t1"}
        requests.post(f"{stand.url}/v1/tasks/video?token=hush", json=sent, timeout=10)
        # It is written when the answer is already on its way.
        eventually(lambda: [line for line in lines if line["event"] == "request"], what="the log line")
    finally:
        structlog.configure(**before)
    (line,) = (line for line in lines if line["event"] == "request")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/tasks/video", 200)
    assert line["job_id"] == "t1"
    assert line["ms"] > 0
    assert re.fullmatch("[0-9a-f]{32}", line["request_id"])
    assert "hush" not in str(lines)
    assert "secret" not in str(lines)


def test_what_is_repeated_to_learn_a_state_is_logged_for_debugging(make_stand: StandMaker) -> None:
    stand = make_stand()
    levels: dict[tuple[str, str], str] = {}

    def keep(logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        if event["event"] == "request":
            levels[event["method"], event["path"]] = method
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[keep])
    try:
        requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "t1"}, timeout=10)
        polls = [
            ("GET", "/health"),
            ("GET", "/ready"),
            ("HEAD", "/ready"),
            ("GET", "/v1/tasks/t1/status"),
            ("GET", "/v1/tasks/t1/result"),  # there is none yet
            ("GET", "/v1/videos/unknown"),
            ("POST", "/video/status"),
        ]
        others = [
            ("POST", "/video/cancel"),
            ("GET", "/nowhere"),
            ("GET", "/docs"),
            ("DELETE", "/v1/tasks/t1"),
        ]
        for method, path in (*polls, *others):
            body = {"requestId": "t1"} if method == "POST" else None
            requests.request(method, stand.url + path, json=body, timeout=10)
        eventually(lambda: len(levels) == 1 + len(polls) + len(others), what="all lines")
    finally:
        structlog.configure(**before)
    assert {call for call, level in levels.items() if level == "debug"} == set(polls)
    assert {level for call, level in levels.items() if call not in polls} == {"info"}


def test_bodies_have_a_limit(make_stand: StandMaker) -> None:
    stand = make_stand(server={"max_body": 1000})
    big = b'{"prompt": "' + b"x" * 5_000_000 + b'"}'
    for path, body in (("/predict", "error"), ("/v1/tasks/video", "detail")):
        answer = requests.post(stand.url + path, data=big, timeout=10)
        assert answer.status_code == 413
        assert set(answer.json()) == {body}


def test_content_types(shared_stand: Stand) -> None:
    body = b'{"prompt": "x", "width": 1}'
    for path, refusal in (("/predict", 400), ("/v1/tasks/video", 422)):
        for kind in ("application/json", "application/json; charset=utf-8", "application/vnd.x+json", None):
            headers = {"Content-Type": kind} if kind else {}
            assert (
                requests.post(shared_stand.url + path, data=body, headers=headers, timeout=10).status_code
                == refusal
            )
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"):
            answer = requests.post(
                shared_stand.url + path, data=body, headers={"Content-Type": kind}, timeout=10
            )
            assert answer.status_code == 415


@pytest.mark.parametrize("query", ["?a=%ff", "?%00=1", "?" + "a=1&" * 2000, "?timeout_seconds=%ff"])
def test_odd_queries(shared_stand: Stand, query: str) -> None:
    for path in ("/v1/tasks/", "/v1/tasks/image/sync", "/health"):
        assert requests.get(shared_stand.url + path + query, timeout=10).status_code < 500
    assert (
        requests.post(f"{shared_stand.url}/v1/tasks/image/sync{query}", json={}, timeout=10).status_code
        == 422
    )


@pytest.mark.parametrize(
    "path", ["/v1/tasks/%ff/status", "/v1/tasks/%00/status", "/v1/tasks/%C3%A9/result", "/%2e%2e/x"]
)
def test_odd_paths(shared_stand: Stand, path: str) -> None:
    assert requests.get(shared_stand.url + path, timeout=10).status_code == 404


def test_the_docs_need_nothing_from_outside(shared_stand: Stand) -> None:
    page = requests.get(f"{shared_stand.url}/docs", timeout=10)
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "//" not in page.text.replace("<!doctype html>", "")
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert "docs/swagger-ui-bundle.js" in linked
    for link in linked:
        if not link.startswith("data:"):
            assert requests.get(f"{shared_stand.url}/{link}", timeout=10).status_code == 200
    script = requests.get(f"{shared_stand.url}/docs/docs.js", timeout=10)
    assert "//" not in script.text
    slashed = requests.get(f"{shared_stand.url}/docs/", timeout=10)
    assert slashed.url == f"{shared_stand.url}/docs"


def test_the_docs_assets_are_cached_by_etag(shared_stand: Stand) -> None:
    url = f"{shared_stand.url}/docs/swagger-ui.css"
    tag = requests.get(url, timeout=10).headers["ETag"]
    again = requests.get(url, headers={"If-None-Match": tag}, timeout=10)
    assert (again.status_code, again.content) == (304, b"")


def test_the_schema_has_a_section_for_each_dialect(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [{"name": "a", "sha256": "0" * 64}]})
    schema = requests.get(f"{stand.url}/openapi.json", timeout=10).json()
    assert [tag["name"] for tag in schema["tags"]] == [*own_dialects(), "server", "admin"]
    assert schema["paths"]["/v1/chat/completions"]["post"]["tags"] == ["sora2api"]  # shared with openai-chat
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    predict = schema["paths"]["/predict"]["post"]
    assert predict["security"] == [{"bearer": []}]
    body = predict["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/PredictRequest"}
    assert body["examples"]["text-to-video"]["value"]["prompt"]
    assert schema["components"]["schemas"]["PredictRequest"]["properties"]["width"]["maximum"] == 2048
    assert predict["responses"].keys() == {"200", "default"}
    form = schema["paths"]["/v1/tasks/video/form"]["post"]["requestBody"]["content"]["multipart/form-data"]
    fields = schema["components"]["schemas"][form["schema"]["$ref"].rsplit("/", 1)[1]]
    assert fields["properties"]["image_file"] == {"type": "string", "format": "binary"}
    assert fields["required"] == ["image_file"]
    assert "image_file" not in schema["components"]["schemas"]["VideoFields"]["properties"]
    assert schema["components"]["schemas"]["VideoFields"]["properties"].keys() < fields["properties"].keys()
    result = schema["paths"]["/v1/tasks/{task_id}/result"]["get"]["responses"]["200"]
    assert result["content"].keys() == {"video/mp4", "image/png"}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert operation["summary"], path
            assert operation["tags"], path


def test_prefixes(make_stand: StandMaker) -> None:
    stand = make_stand({"wan22-predict": {"prefix": "/v4/PROJECT/APP/"}, "lightx2v": {"prefix": "/x"}})
    base = f"{stand.url}/v4/PROJECT/APP"
    with stand.working():
        answer = requests.post(f"{base}/predict", json={"prompt": "x"}, timeout=10)
    assert answer.status_code == 200
    page = requests.get(base, timeout=10)
    assert page.url == f"{base}/"
    assert "predict-page/page.js" in page.text
    assert requests.get(f"{base}/predict-page/page.js", timeout=10).status_code == 200
    unknown = requests.get(f"{base}/no/such", timeout=10)
    assert (unknown.status_code, set(unknown.json())) == (404, {"error"})
    assert (
        requests.post(f"{stand.url}/x/v1/tasks/video/", json={"prompt": "x"}, timeout=10).json()["status"]
        == "pending"
    )
    assert requests.get(f"{stand.url}/x/health", timeout=10).json() == {"status": "ok"}
    assert requests.post(f"{stand.url}/predict", json={"prompt": "x"}, timeout=10).status_code == 404
    paths = requests.get(f"{stand.url}/openapi.json", timeout=10).json()["paths"]
    assert "/v4/PROJECT/APP/predict" in paths
    assert requests.get(f"{stand.url}/docs", timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("public_url", "why"),
    [
        ("video.example.com", "is not an http"),
        ("//video.example.com", "is not an http"),
        ("javascript:alert(1)", "is not an http"),
        ("https://video example.com/", "is not a valid http"),
        ("https://video.example.com/\r\nX: y", "is not a valid http"),
        ("https://video.example.com:99999", "is not a valid http"),
        ("https://user:secret@video.example.com", "user name or password"),
        ("https://video.example.com/?a", "more than scheme, host and path"),
        ("https://video.example.com/#a", "more than scheme, host and path"),
        (" https://video.example.com", "more than scheme, host and path"),
    ],
)
def test_a_public_url_that_makes_no_links_is_refused(
    make_stand: StandMaker, public_url: str, why: str
) -> None:
    with pytest.raises(ConfigError, match=rf"server\.public_url: .* {why}.*; write one such as") as refused:
        make_stand(server={"public_url": public_url})
    assert "secret" not in str(refused.value)
