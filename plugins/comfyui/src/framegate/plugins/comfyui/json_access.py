"""JSON of which nobody promises a shape."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def table(value: object) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if is_object(value) else {}


def items(value: object) -> Sequence[Any]:
    """``value`` if it is an array, else an empty one."""
    return value if is_array(value) else []


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
