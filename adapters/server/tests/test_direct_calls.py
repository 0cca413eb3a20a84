"""Handlers that are called directly answer as they do by Litestar's own way."""

import asyncio
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import pytest
from litestar import Litestar, MediaType, Response, delete, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie, ResponseHeader
from litestar.di import NamedDependency, Provide
from litestar.exceptions import LitestarDeprecationWarning
from litestar.handlers import BaseRouteHandler
from litestar.params import DependencyKwarg, FromPath, FromQuery, JSONBody, PathParameter, SkipValidation
from litestar.types import ControllerRouterHandler, Message
from msgspec import Struct
from structlog.testing import capture_logs

from framegate.server import direct_calls
from framegate.server.app import FramegateApp, create_app
from framegate.server.auth.key_ring import KeyRing
from framegate.server.direct_calls import DirectRoute
from framegate.server.requests.bodies import HTTPRequest
from tests.support.http_stand import Stand, make_settings, own_dialects

ALICE, READER = "alice-0123456789", "reader-0123456789"
KEYS: Mapping[str, Any] = {
    "keys": [
        {"name": "alice", "sha256": sha256(ALICE.encode()).hexdigest()},
        {"name": "reader", "sha256": sha256(READER.encode()).hexdigest(), "scopes": ["read"]},
    ]
}
_VARYING = re.compile(
    rb"[0-9a-f]{32}|\d{4}-\d\d-\d\dT[0-9:.+Z]+|\d\d:\d\d:\d\d GMT|\d{9,}(?:\.\d+)?"
    rb'|(?<="seed":)\d+|(?<="gpu_seconds":)[\d.e-]+'
)
"""Ids, times, and what is drawn at random or measured."""
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


async def call(app: Any, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Send a request to an app; what differs from one time to the next is masked in the answer."""
    given = {"host": "127.0.0.1", **headers}
    if body:
        given |= {"content-type": "application/json", "content-length": str(len(body))}
    path, _, query = path.partition("?")
    scope: Any = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8000),
    }
    pending = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        return pending.pop() if pending else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(20):
        await app(scope, receive, send)
    start, *pieces = sent
    data = b"".join(piece.get("body", b"") for piece in pieces)
    received: list[tuple[bytes, bytes]] = start["headers"]
    lengths = [int(value) for name, value in received if name == b"content-length"]
    assert lengths in ([], [len(data)]) or not data
    masked = [(name, _VARYING.sub(b"?", value)) for name, value in received if name != b"content-length"]
    return start["status"], masked, _VARYING.sub(b"?", data)


def bearer(key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {key}"}


def _nothing(*_: Any) -> None:
    return None


class Served(Struct):
    """An app, its stand, and the ids of jobs of several APIs there."""

    app: Any
    stand: Stand
    ids: Sequence[str]

    def requests(self, clients: Sequence[Mapping[str, str]]) -> Iterator[tuple[str, str, Any, bytes]]:
        """Yield requests for all handlers that are called directly; what they change, they change last."""
        # The schemas of the API docs are in the order of a set.
        routes = [
            route
            for route in self.app.routes
            if isinstance(route, DirectRoute) and not route.path.endswith(("/openapi.json", "/schema"))
        ]
        for method in ("GET", "HEAD", "OPTIONS", "POST", "DELETE"):
            for route in (route for route in routes if method in route.direct_methods):
                for value in (*self.ids, "unknown") if "{" in route.path else ("",):
                    path = re.sub(r"\{\w+:str\}", value, route.path)
                    query = "?x=&y=1" if value == "unknown" else ""
                    for headers in clients if value in ("", "unknown") else clients[:1]:
                        for body in (b"", b'{"unknown": 1}') if method == "POST" else (b"",):
                            yield method, path + query, headers, body


def serve(folder: Path, **tables: Any) -> Served:
    folder.mkdir()
    settings = make_settings(folder, limits={"address_failed_logins_per_minute": 0}, **tables)
    stand = Stand(folder, 1000, configured_keys={key.name: key for key in settings.auth.keys})
    app: Any = create_app(
        services=stand.services,
        settings=settings,
        dialects=own_dialects(),
        keys=KeyRing(settings.auth.keys, defaults=settings.key_defaults),
        process=stand.process,
    )
    for path in ("/v1/tasks/video", "/v1/videos", "/api/v1/jobs"):
        asyncio.run(call(app, "POST", path, bearer(ALICE), b'{"prompt": "a cat"}'))
    stand.run_next()
    return Served(app, stand, [job.id for job in stand.jobs()])


@pytest.mark.parametrize("tables", [{}, {"auth": KEYS}], ids=["open", "keyed"])
def test_own_handlers(tables: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = [bearer(ALICE), {"origin": "https://elsewhere.example", **bearer("wrong")}]
    if tables:
        clients += [bearer(READER), {}]
    direct = serve(tmp_path / "direct", **tables)
    monkeypatch.setattr(direct_calls, "plan_call", _nothing)
    by_litestar = serve(tmp_path / "litestar", **tables)
    ids = dict(zip(direct.ids, by_litestar.ids, strict=True))

    async def compare() -> set[int]:
        statuses: set[int] = set()
        for number, (method, path, headers, body) in enumerate(direct.requests(clients)):
            other = functools.reduce(lambda text, job_id: text.replace(job_id, ids[job_id]), ids, path)
            answer = await call(direct.app, method, path, headers, body)
            expected = await call(by_litestar.app, method, other, headers, body)
            assert answer == expected, (number, method, path, headers, body)
            statuses.add(answer[0])
        return statuses

    with capture_logs():
        statuses = asyncio.run(compare())
    assert {200, 202, 204, 400, 404} | ({401, 403} if tables else set()) <= statuses


def test_own_handlers_that_are_left_to_litestar(tmp_path: Path) -> None:
    """All others are called directly, polls and submits of each API among them, and should stay so."""
    left = {
        (route.path, method)
        for route in serve(tmp_path / "server").app.routes
        if isinstance(route, DirectRoute) and not route.path.startswith("/docs/schema")
        for method in route.methods - route.direct_methods - {"HEAD", "OPTIONS"}
    }
    assert left == {
        ("/admin/usage", "GET"),
        ("/api/v1/admin/usage", "GET"),
        ("/api/v1/jobs", "GET"),
        ("/api/v1/jobs/{job_id:str}/results/{number:str}", "GET"),
        ("/api/v1/jobs/{job_id:str}/thumbnail", "GET"),
        ("/v1/files/download/{file_path:path}", "GET"),
        ("/v1/models/{model_id:path}", "GET"),
        ("/v1/tasks/image/sync", "POST"),
        ("/v1/videos", "GET"),
        ("/v1/videos/{video_id:str}/content", "GET"),
        ("/view", "GET"),
    }


class Thing(Struct):
    """An answer, or a dependency."""

    name: str = "thing"


class Other(Thing):
    """Another one."""


def thing() -> Thing:
    return Other("made")


def derived(request: HTTPRequest, thing: NamedDependency[Thing], name: FromPath[str]) -> str:
    return f"{request.method} {thing.name} {name}"


def named(duck: SkipValidation[Thing]) -> str:
    return duck.name


def wrong() -> Any:
    return 5


class Duck:
    """What only looks like a `Thing`."""

    name = "duck"


def duck() -> Any:
    return Duck()


def failing() -> Thing:
    raise ValueError("secret")


async def renames(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    handler.name = f"{handler.name}x"
    connection.scope["state"]["name"] = handler.name


DEPENDENCIES = {
    "thing": Provide(thing, sync_to_thread=False),
    "derived": Provide(derived, sync_to_thread=False),
    "wrong": Provide(wrong, sync_to_thread=False),
    "duck": Provide(duck, sync_to_thread=False),
    "named": Provide(named, sync_to_thread=False),
    "failing": Provide(failing, sync_to_thread=False),
}


@get("/plain/{name:str}")
async def plain(name: FromPath[str]) -> Thing:
    return Thing(name)


@get("/sync/{name:str}", sync_to_thread=False)
def sync(name: FromPath[str]) -> dict[str, str]:
    return {"näme": name}


@get("/thread/{name:str}", sync_to_thread=True)
def thread(name: FromPath[str]) -> list[str]:
    return [name]


@get("/dependent/{name:str}")
async def dependent(derived: NamedDependency[str], thing: NamedDependency[Thing]) -> list[str]:
    return [derived, thing.name]


@get("/wrong")
async def takes_wrong(wrong: NamedDependency[Thing]) -> str:
    return str(wrong)


@get("/failing")
async def takes_failing(failing: NamedDependency[Thing]) -> str:
    return str(failing)


@get("/skipping")
async def skipping(duck: SkipValidation[Thing], named: NamedDependency[str]) -> list[str]:
    return [duck.name, named]


@get("/validating")
async def validating(duck: NamedDependency[Thing]) -> list[str]:
    return [duck.name]


@get("/both-ways")
async def both_ways(named: NamedDependency[str], duck: NamedDependency[Thing]) -> list[str]:
    return [duck.name, named]


with pytest.warns(LitestarDeprecationWarning):
    SKIPS = DependencyKwarg(skip_validation=True)


@get("/skipping-as-before")
async def skipping_as_before(duck: Annotated[Thing, SKIPS]) -> list[str]:
    return [duck.name]


@get("/limited/{name:str}")
async def limited(derived: Annotated[str, PathParameter(max_length=3)]) -> list[str]:
    return [derived]


@get("/query")
async def query(number: FromQuery[int] = 3) -> list[int]:
    return [number]


@get("/constrained/{name:str}")
async def constrained(name: Annotated[str, PathParameter(max_length=3)]) -> list[str]:
    return [name]


@get("/number/{number:int}")
async def number(number: FromPath[int]) -> list[int]:
    return [number]


@get("/reads", opt={"some": 1})
async def reads_query(request: HTTPRequest) -> dict[str, Any]:
    return {"query": dict(request.query_params), "opt": dict(request.route_handler.opt)}


@get("/guarded", guards=[renames], name="guarded")
async def guarded(request: HTTPRequest) -> list[Any]:
    return [request.scope["state"]["name"]]


@get("/headers", response_headers=[ResponseHeader(name="X-One", value="1")])
async def with_headers() -> Thing:
    return Thing()


@get("/response")
async def response() -> Response[Thing]:
    return Response(Thing(), status_code=203, headers={"X-Two": "2"})


@get("/both", response_headers=[ResponseHeader(name="X-One", value="1")])
async def both() -> Response[Thing]:
    return Response(Thing(), headers={"X-One": "2"})


@get("/cookie")
async def cookie() -> Response[Thing]:
    return Response(Thing(), cookies=[Cookie("a", "b")])


@get("/typed")
async def typed() -> Response[Thing]:
    return Response(Thing(), media_type="application/problem+json", headers={"Content-Type": "text/x"})


@get("/json-text", media_type=MediaType.JSON)
async def json_text() -> str:
    return "[1]"


@get("/text")
async def text() -> str:
    return "text"


@get("/bytes")
async def some_bytes() -> bytes:
    return b"bytes"


@get("/foreign")
async def foreign() -> list[Any]:
    return [object()]


@get("/circular")
async def circular() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


async def _another(_: Response[Any]) -> Response[Any]:
    return Response([2])


@get("/hooked", after_request=_another, before_request=_nothing)
async def hooked() -> list[int]:
    return [1]


@get("/broken")
async def broken() -> list[int]:
    raise KeyError("secret")


@delete("/nothing")
async def nothing() -> None:
    return


@post("/form")
async def form(request: HTTPRequest) -> dict[str, Any]:
    return dict(await request.form())


@post("/data")
async def data(data: JSONBody[Thing]) -> Thing:
    return data


HANDLERS: list[ControllerRouterHandler] = [
    *(plain, sync, thread, dependent, takes_wrong, takes_failing, query, constrained, number, reads_query),
    *(guarded, with_headers, response, both, cookie, typed, json_text, text, some_bytes, foreign, circular),
    *(hooked, broken, nothing, form, data, limited, skipping, skipping_as_before, validating, both_ways),
]
REQUESTS = [
    *(
        ("GET", f"/{name}/abc%20d")
        for name in ("plain", "sync", "thread", "dependent", "limited", "constrained")
    ),
    *(
        ("GET", f"/{name}")
        for name in ("wrong", "failing", "query", "query?number=x", "number/5", "number/x")
    ),
    *(("GET", f"/{name}") for name in ("reads", "reads?a=1&b=", "guarded", "guarded", "headers", "response")),
    *(("GET", f"/{name}") for name in ("both", "cookie", "typed", "json-text", "text", "bytes", "foreign")),
    *(("GET", f"/{name}") for name in ("circular", "hooked", "broken", "nowhere", "plain")),
    *(("GET", f"/{name}") for name in ("skipping", "skipping-as-before", "validating", "both-ways")),
    *(("POST", f"/{name}") for name in ("form", "data", "plain/x")),
    ("DELETE", "/nothing"),
]


@pytest.fixture(scope="module")
def plugin_apps() -> tuple[FramegateApp, Litestar]:
    """Return Framegate's app and Litestar's, with the same handlers."""
    options: Any = {"dependencies": DEPENDENCIES, "openapi_config": None, "logging_config": None}
    app = FramegateApp(HANDLERS, **options)
    app.wrap()
    return app, Litestar(HANDLERS, **options)


@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_handlers_of_plugins(plugin_apps: tuple[FramegateApp, Litestar], method: str, path: str) -> None:
    app, litestar = plugin_apps
    body = b'{"name": "x"}' if method == "POST" else b""
    direct = asyncio.run(call(app, method, path, {}, body))
    assert direct == asyncio.run(call(litestar, method, path, {}, body))


def test_what_is_called_directly(plugin_apps: tuple[FramegateApp, Litestar]) -> None:
    app, _ = plugin_apps
    left = {
        route.path
        for route in app.routes
        if isinstance(route, DirectRoute) and route.methods - route.direct_methods - {"OPTIONS"}
    }
    assert left == {
        *("/query", "/constrained/{name:str}", "/number/{number:int}", "/hooked", "/data"),
        *("/limited/{name:str}", "/both-ways"),
    }
