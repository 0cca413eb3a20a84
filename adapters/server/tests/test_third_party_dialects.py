"""A broken or clashing dialect of somebody's plugin takes that plugin's dialects out, and nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from litestar import Response, get
from litestar.params import FromPath
from structlog.testing import capture_logs

from framegate.core.dialect import DialectSpec
from framegate.core.errors import ConfigError
from framegate.server.dialect import Dialect, DialectContext, SharedRoute
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest
from tests.support.http_stand import StandMaker, own_dialects


def rendered(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    return Response({"oops": error_info.message}, status_code=error_info.status)


def dialect(*handlers: Any, **more: Any) -> Dialect:
    return Dialect(handlers=handlers, error_response=rendered, path_prefixes=("/acme",), **more)


def fine(_: DialectContext) -> Dialect:
    @get("/acme/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    return dialect(hello)


def raises(_: DialectContext) -> Dialect:
    raise RuntimeError("no licence")


def nonsense(_: DialectContext) -> str:
    return "a dialect"


def unusable(_: DialectContext) -> Dialect:
    """Litestar can't provide what the handler asks for."""

    @get("/acme/{name:str}")
    async def show(name: FromPath[str], nobody_provides_this: "NoSuchType") -> str:  # type: ignore[name-defined]  # noqa: F821  # the mistake
        return name

    return dialect(show)


def no_handlers(_: DialectContext) -> Dialect:
    return dialect("GET /acme")


def takes_a_dialects_path(_: DialectContext) -> Dialect:
    @get("/v1/tasks/{id:str}/status")
    async def show(id: FromPath[str]) -> str:  # noqa: A002  # another name for the same place is the point
        return id

    return dialect(show)


def takes_the_servers_path(_: DialectContext) -> Dialect:
    @get("/health")
    async def health() -> str:
        return "mine"

    return dialect(health)


def takes_a_shared_path(_: DialectContext) -> Dialect:
    """It answers by a shared route of its own what other dialects share."""

    def compose(parts: Any) -> Any:
        @get("/v1/models")
        async def models() -> list[str]:
            return list(parts)

        return [models]

    return dialect(shared_routes=[SharedRoute(compose, "acme")])


def spec(factory: Callable[..., Any] | str) -> DialectSpec:
    name = factory if isinstance(factory, str) else f"{__name__}:{factory.__name__}"
    return DialectSpec(name.rpartition(":")[2].replace("_", "-"), "", name)


BROKEN: list[tuple[Callable[..., Any] | str, str]] = [
    (raises, "RuntimeError; the log says more."),
    (nonsense, "TypeError; the log says more."),
    (unusable, "NameError; the log says more."),
    (no_handlers, "ImproperlyConfiguredException; the log says more."),
    ("no_such_package:create", "needs the module no_such_package, which is not installed"),
    (f"{__name__}:no_such_factory", "has no 'no_such_factory'"),
    (takes_a_dialects_path, "lightx2v and takes-a-dialects-path both answer GET /v1/tasks/{id:str}/status"),
    (takes_the_servers_path, "framegate and takes-the-servers-path both answer GET /health"),
    (takes_a_shared_path, "takes-a-shared-path both answer GET /v1/models"),
]


@pytest.mark.parametrize(("factory", "reason"), BROKEN)
def test_a_broken_dialect_disables_its_plugin(
    make_stand: StandMaker, factory: Callable[..., Any] | str, reason: str
) -> None:
    broken, beside = spec(factory), spec(fine)
    with capture_logs() as lines:
        stand = make_stand(
            dialects={broken.name: broken, **own_dialects(), beside.name: beside},
            third_party={broken.name: "acme", beside.name: "other"},
        )
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert (line["dialect"], line["plugin"]) == (broken.name, "acme")
    assert requests.get(f"{stand.url}/health", timeout=10).json() == {"status": "ok"}
    assert requests.get(f"{stand.url}/v1/tasks/abc/status", timeout=10).json() != "abc"
    assert requests.get(f"{stand.url}/v1/models", timeout=10).json() != ["acme"]
    assert requests.get(f"{stand.url}/acme/hello", timeout=10).json() == {"hello": "world"}
    (problem,) = requests.get(f"{stand.url}/status", timeout=10).json()["problems"]
    assert problem.startswith(f"The dialect {broken.name} can't be served. The plugin acme is disabled: ")
    assert reason in problem
    assert "no licence" not in problem


def test_all_dialects_of_that_plugin_are_disabled(make_stand: StandMaker) -> None:
    one, two = spec(raises), spec(fine)
    stand = make_stand(
        dialects={**own_dialects(), one.name: one, two.name: two},
        third_party={one.name: "acme", two.name: "acme"},
    )
    assert requests.get(f"{stand.url}/acme/hello", timeout=10).status_code == 404


def test_of_two_plugins_that_clash_the_later_is_disabled(make_stand: StandMaker) -> None:
    one = spec(fine)
    two = DialectSpec("also-fine", "", one.factory)
    stand = make_stand(
        dialects={one.name: one, two.name: two, **own_dialects()},
        third_party={one.name: "zoo", two.name: "acme"},
    )
    assert requests.get(f"{stand.url}/acme/hello", timeout=10).status_code == 200
    (problem,) = requests.get(f"{stand.url}/status", timeout=10).json()["problems"]
    assert (
        "The dialect fine can't be served. The plugin zoo is disabled: The dialects also-fine and" in problem
    )


def test_framegates_own_dialects_that_clash_are_a_config_error(make_stand: StandMaker) -> None:
    clashing = DialectSpec("own", "", f"{__name__}:takes_a_dialects_path")
    with pytest.raises(ConfigError, match=r"^dialects\.own\.prefix: The dialects lightx2v and own both"):
        make_stand(dialects={**own_dialects(), "own": clashing})


def test_a_wrong_option_of_a_plugins_dialect_stays_a_config_error(make_stand: StandMaker) -> None:
    with pytest.raises(ConfigError, match=r"^dialects\.fine\.auth: this is not true or false\.$"):
        make_stand(
            dialects={**own_dialects(), "fine": spec(fine)},
            third_party={"fine": "acme"},
            options={"fine": {"auth": "no"}},
        )
