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
_LONGEST_SECONDS = 36500 * 86400
"""A hundred years: what ends later is beyond the times that can be written."""
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
FOREVER = "forever"


class Duration(float):
    """Seconds, at most a hundred years: ``"90s"``, ``"15m"``, ``"1h"``, ``"7d"`` or a bare number."""


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
            # Whoever writes the secret itself there must not find it in a log.
            name = f"the environment variable {self.env}"
            if not _VARIABLE.fullmatch(self.env):
                name = "env names an environment variable, such as FRAMEGATE_KEY, and the one that it names"
            raise ConfigError(f"{name} is not set.", key=key)
        return secret


def decode_value(kind: type[Any], value: Any) -> Any:
    """Decode a `Duration` or a `Path`; msgspec's ``dec_hook``."""
    if kind is DurationOrForever and value == FOREVER:
        return DurationOrForever(math.inf)
    if issubclass(kind, Duration):
        seconds = _seconds(value)
        if seconds is not None and 0 <= seconds <= _LONGEST_SECONDS:
            return kind(seconds)
        if is_too_long(value):
            raise ValueError("Expected at most 36500d, a hundred years")
        forever = f' or "{FOREVER}"' if kind is DurationOrForever else ""
        raise ValueError(f'Expected a duration such as "90s", "15m" or "1h"{forever}')
    if issubclass(kind, Path):
        if isinstance(value, str):
            return Path(value)
        raise ValueError("Expected a path")
    raise AssertionError("the config has no other types of its own")


def is_too_long(value: Any) -> bool:
    """Return whether ``value`` is written as a duration, but of more than a hundred years."""
    seconds = _seconds(value)
    return seconds is not None and _LONGEST_SECONDS < seconds < math.inf


def _seconds(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match["count"]) * _UNIT_SECONDS[match["unit"]]
    return None


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
