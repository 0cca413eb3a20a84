"""Tables of the config are converted as far as they are right, and everything else is named."""

from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from framegate.core.options import EnvSecret
from framegate.core.tables import convert_table


class _Server(Struct, frozen=True, forbid_unknown_fields=True):
    url: str
    token: EnvSecret | None = None
    weight: Annotated[int, Meta(ge=1)] = 1


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    servers: tuple[_Server, ...] = ()
    by_name: dict[str, _Server] = {}
    mode: Literal["fast", "exact"] = "fast"
    share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    size: Annotated[str, Meta(pattern=r"^\d+x\d+$", description='a size such as "832x480"')] = "1x1"
    low: int = 0
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is more than high")


def errors_of(table: dict[str, Any]) -> list[str]:
    return [error.message for error in convert_table(table, _Table)[1]]


def test_what_is_right_remains() -> None:
    value, errors = convert_table(
        {
            "servers": [{"url": 1}, {"url": "a", "weight": 0}, {"weight": 5}, {"url": "b", "wieght": 2}],
            "by_name": {"x": {"url": "c"}, "y": {"url": 5}, "z": 7},
            "mode": "fats",
            "shaer": 1,
        },
        _Table,
    )
    assert value == _Table(servers=(_Server("a"), _Server("b")), by_name={"x": _Server("c")})
    assert sorted(error.message for error in errors) == [
        "by_name.y.url: 5 is not a text in quotes.",
        "by_name.z: 7 is not a table.",
        'mode: "fats" is not "exact" or "fast"; did you mean fast?',
        "servers[0].url: 1 is not a text in quotes.",
        "servers[1].weight: 0 is not a whole number of at least 1.",
        "servers[2]: url is missing; write a text in quotes.",
        "servers[3].wieght: unknown setting; did you mean weight?",
        "shaer: unknown setting; did you mean share?",
    ]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"share": 2}, "share: 2 is not a number above 0 of at most 1."),
    ({"size": "big"}, 'size: "big" is not a size such as "832x480".'),
    (
        {"servers": {"url": "a"}},
        "servers: this is a table, and there may be several: write [[servers]], with two brackets.",
    ),
    (
        {"by_name": {"a": [{}]}},
        "by_name.a: this is a list of tables, and there is one: write [by_name.a], with single brackets.",
    ),
    ({"servers": "a"}, 'servers: "a" is not a list; write ["a"].'),
    ({"mode": True}, 'mode: true is not "exact" or "fast".'),
]


@pytest.mark.parametrize(("table", "error"), WRONG)
def test_what_would_be_right_is_said(table: dict[str, Any], error: str) -> None:
    assert errors_of(table) == [error]


@pytest.mark.parametrize("value", ["hunter2", ["hunter2"], 5, {"env": ["hunter2"]}, {"evn": "hunter2"}])
def test_no_secret_is_shown(value: object) -> None:
    (error, *_) = errors_of({"servers": [{"url": "a", "token": value}]})
    assert "hunter2" not in error
    assert error.startswith("servers[0].token")


def test_passwords_in_urls_are_not_shown() -> None:
    assert errors_of({"mode": "redis://me:hunter2@host"}) == [
        'mode: "redis://…@host" is not "exact" or "fast".'
    ]


def test_values_that_contradict_each_other() -> None:
    value, errors = convert_table({"low": 5, "high": 1}, _Table)
    assert value is None
    assert [error.message for error in errors] == ["low is more than high."]


def test_a_table_given_is_left_as_it_is() -> None:
    table = {"servers": [{"url": 1}], "by_name": {"x": 1}}
    convert_table(table, _Table)
    assert table == {"servers": [{"url": 1}], "by_name": {"x": 1}}
