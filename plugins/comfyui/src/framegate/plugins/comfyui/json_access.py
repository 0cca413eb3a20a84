"""Access to JSON whose shape is not guaranteed."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def table(value: object) -> Mapping[str, Any]:
    """Return ``value`` if it is an object, otherwise an empty one."""
    return value if is_object(value) else {}


def items(value: object) -> Sequence[Any]:
    """Return ``value`` if it is an array, otherwise an empty one."""
    return value if is_array(value) else []


def is_number(value: object) -> TypeGuard[float]:
    """Return whether ``value`` is a number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Return whether ``value`` is an array."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Return whether ``value`` is an object."""
    return isinstance(value, dict)
