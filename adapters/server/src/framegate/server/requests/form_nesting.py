"""Nest form fields by the brackets in their names.

``a[b]=1`` is ``{"a": {"b": 1}}``, ``a[]=1`` is ``{"a": [1]}``.

In a list of objects, ``a[][b]=1&a[][c]=2``, the first field of a name belongs to the first object, the second
one to the second: clients send such lists by object or by name.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from framegate.core.errors import InvalidRequest

MAX_DEPTH = 5
"""The longest path of names; ``a[b][c]`` has three."""
MAX_FIELDS = 1000
MAX_NAME = 1000
"""Characters of a field's name."""

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_STEP = re.compile(r"\[([^\[\]]*)\]")
_ITEM = ""


def nest(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return the values of ``fields`` in the structure that their names describe.

    Raises:
        InvalidRequest: A name's brackets are malformed, two names contradict each other, or a field that is
            not a list is given twice; the name is its ``param``.
    """
    root: dict[str, Any] = {}
    seen: Counter[str] = Counter()
    for count, (name, value) in enumerate(fields, start=1):
        if count > MAX_FIELDS:
            raise InvalidRequest(f"The form has more than {MAX_FIELDS} fields.")
        _place(root, name, _steps(name), seen[name], value)
        seen[name] += 1
    return root


def _steps(name: str) -> list[str]:
    match = _NAME.fullmatch(name) if len(name) <= MAX_NAME else None
    steps = [match[1], *_STEP.findall(match[2])] if match else []
    if not steps or len(steps) > MAX_DEPTH or steps.count(_ITEM) > 1:
        raise _refused(
            name, f"is not a field name such as a, a[b], a[] or a[][b], at most {MAX_DEPTH} names deep"
        )
    return steps


def _place(root: dict[str, Any], name: str, steps: list[str], number: int, value: Any) -> None:
    """Put the ``number``-th value of the field ``name``."""
    node: Any = root
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if step == _ITEM:
            if not isinstance(node, list):
                raise _refused(name, "is given as a list and as something else")
            items: list[Any] = node  # pyright: ignore[reportUnknownVariableType] # plain values, any depth
            if following is None:
                items.append(value)
                return
            if number >= len(items):
                items.append({})
            node = items[number]
            continue
        if not isinstance(node, dict):
            raise _refused(name, "is given as an object and as something else")
        if following is None:
            if step in node:
                raise _refused(name, "is given more than once")
            node[step] = value
            return
        node = node.setdefault(step, [] if following == _ITEM else {})  # pyright: ignore[reportUnknownVariableType] # plain values, any depth


def _refused(name: str, why: str) -> InvalidRequest:
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return InvalidRequest(f"The form field {shown!r} {why}.", param=shown)
