"""Config tables that belong to a dialect or a plugin, and the value types that all tables share."""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.validation import ViolationKind, parse_violation

Options = TypeVar("Options", bound=Struct)

_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>s|m|h|d)")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FOREVER = "forever"


class Duration(float):
    """Seconds; written as ``"90s"``, ``"15m"``, ``"1h"``, ``"7d"`` or a bare number."""


class DurationOrForever(Duration):
    """Seconds as a `Duration`, or infinity, written as ``"forever"``."""


class EnvSecret(Struct, frozen=True, forbid_unknown_fields=True):
    """``{ env = "NAME" }``: the secret is in the environment variable NAME, never in the file."""

    env: str

    def reveal(self, where: str) -> str:
        """Return the secret.

        Raises:
            ConfigError: The variable is not set; the message says ``where`` it is needed.
        """
        secret = os.environ.get(self.env)
        if not secret:
            raise ConfigError(f"{where}: the environment variable {self.env} is not set.")
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


def parse_table(where: str, table: Mapping[str, Any], model: type[Options]) -> Options:
    """Convert ``table`` to ``model``, which should be declared with ``forbid_unknown_fields``.

    Raises:
        ConfigError: A value is wrong; the message names its key below ``where``.
    """
    try:
        return msgspec.convert(table, model, dec_hook=decode_value)
    except msgspec.ValidationError as error:
        violation = parse_violation(str(error))
        key = f"{where}{violation.location}"
        if violation.kind == ViolationKind.UNKNOWN_FIELD:
            known = "" if violation.path else f"; available: {', '.join(model.__struct_fields__) or 'none'}"
            raise ConfigError(f"{key}.{violation.field}: unknown option{known}.") from None
        subject = f"{key}: a key" if violation.of_key else key
        raise ConfigError(f"{subject}: {violation.message}.") from None
