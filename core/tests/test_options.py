from typing import Any, Literal

import pytest
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.options import Duration, parse_table


class _Options(Struct, forbid_unknown_fields=True):
    offload: Literal["none", "model"] = "none"
    weights: dict[str, float] = {}
    patience: Duration = Duration(60)


class _Nested(Struct, forbid_unknown_fields=True):
    servers: list[_Options] = []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"offlaod": "model"}, "plugins.zoo.offlaod: unknown setting; did you mean offload?"),
        ({"offload": "unknown field"}, 'plugins.zoo.offload: "unknown field" is not "model" or "none".'),
        ({"offload": 'x" - at `$"'}, 'plugins.zoo.offload: "x\\" - at `$\\"" is not "model" or "none".'),
        ({"weights": {1: 0.5}}, "plugins.zoo.weights: a name in this table is not a text."),
        ({"weights": {"a": "b"}}, 'plugins.zoo.weights.a: "b" is not a number.'),
        (
            {"patience": "long"},
            'plugins.zoo.patience: "long" is not a duration such as "90s", "15m" or "1h".',
        ),
    ],
)
def test_what_is_wrong_is_named(table: dict[Any, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_table("plugins.zoo", table, _Options)
    assert str(error.value) == message


def test_a_key_of_a_table_within() -> None:
    with pytest.raises(ConfigError) as error:
        parse_table("plugins.zoo", {"servers": [{}, {"url": "x"}]}, _Nested)
    assert str(error.value) == (
        "plugins.zoo.servers[1].url: unknown setting; available: offload, weights, patience."
    )
