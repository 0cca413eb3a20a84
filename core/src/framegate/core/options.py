"""Config tables that belong to a dialect or a plugin, and the value types that all tables share."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from framegate.core.config_errors import ErrorCollector, below
from framegate.core.errors import ConfigError, ConfigKey

Options = TypeVar("Options", bound=Struct)

_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>s|m|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FOREVER = "forever"


class Duration(float):
    """Seconds; written as ``"90s"``, ``"15m"``, ``"1h"``, ``"7d"`` or a bare number."""


class DurationOrForever(Duration):
    """Seconds as a `Duration`, or infinity, written as ``"forever"``."""


class NoOptions(Struct, frozen=True, forbid_unknown_fields=True):
    """The options of a model that has none."""


class EnvSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """``{ env = "NAME" }``: the secret is in the environment variable NAME, never in the file."""

    env: str

    def reveal(self, *key: str | int) -> str:
        """Return the secret; ``key`` leads to the setting that needs it.

        Raises:
            ConfigError: The variable is not set.
        """
        secret = os.environ.get(self.env)
        if not secret:
            raise ConfigError(f"the environment variable {self.env} is not set.", key=key)
        return secret


def decode_value(kind: type[Any], value: Any) -> Any:
    """Decode a `Duration` or a `Path`; msgspec's ``dec_hook``."""
    if kind is DurationOrForever and value == FOREVER:
        return DurationOrForever(math.inf)
    if issubclass(kind, Duration):
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return kind(value)
        if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            return kind(float(match["count"]) * _UNIT_SECONDS[match["unit"]])
        forever = f' or "{FOREVER}"' if kind is DurationOrForever else ""
        raise ValueError(f'Expected a duration such as "90s", "15m" or "1h"{forever}')
    if issubclass(kind, Path):
        if isinstance(value, str):
            return Path(value)
        raise ValueError("Expected a path")
    raise AssertionError("the config has no other types of its own")


def parse_table(where: str | ConfigKey, table: Mapping[str, Any], model: type[Options]) -> Options:
    """Convert ``table`` to ``model``, which should be declared with ``forbid_unknown_fields``.

    ``where`` is the table's place in the config ("plugins.zoo").

    Raises:
        ConfigError: A value is wrong; the message names its key below ``where``. Where several are,
            `ConfigErrors` has an error for each.
    """
    from framegate.core.tables import convert_table  # which converts the types above

    key = tuple(where.split(".")) if isinstance(where, str) else where
    value, errors = convert_table(table, model)
    found = ErrorCollector()
    found.errors += [below(key, error) for error in errors]
    found.raise_errors()
    assert value is not None
    return value
