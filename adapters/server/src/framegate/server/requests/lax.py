"""Read texts as pydantic's lax mode does, which most of the originals are built on."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import fields

from framegate.core.validation import parse_violation

Value = TypeVar("Value")

_LONGEST_NUMBER = 5000
"""Bytes of a JSON string beyond which it is neither a number, a boolean nor a list of such."""
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
"""Pydantic's words for booleans."""
_JSON_NAMES = {str: "str", bool: "bool", list: "array"}
"""What msgspec's messages call types."""


def relax(values: Mapping[str, Value], model: type[Struct]) -> dict[str, Value | bool | str | list[Any]]:
    """Return values as pydantic would read them.

    Texts for fields that are not texts lose the blanks around them, booleans may be words such as "off",
    lists may be JSON, because a form has only texts, and an empty text counts as omitted, because browsers
    send all fields.
    """
    relaxed: dict[str, Value | bool | str | list[Any]] = {}
    kinds = _kinds(model)
    for name, value in values.items():
        kind = kinds.get(name)
        if not isinstance(value, str) or kind is None or kind.text:
            relaxed[name] = value
        elif text := value.strip():
            relaxed[name] = _relaxed(text, kind)
    return relaxed


def _relaxed(text: str, kind: "_Kind") -> bool | str | list[Any]:
    if kind.boolean:
        return _BOOLEANS.get(text.lower(), text)
    if kind.items and len(text) < _LONGEST_NUMBER:
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(text, type=list[Any])
    return text


def relax_json(raw: bytes, model: type[Struct]) -> bytes:
    """Return a JSON object as `relax` reads its values; what isn't one stays as it is."""
    try:
        given = msgspec.json.decode(raw, type=dict[str, Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    return msgspec.json.encode(relax({name: _short_text(value) for name, value in given.items()}, model))


def _short_text(value: Raw) -> Raw | str:
    """Return the text of a JSON string that may be a number or a boolean; anything else as it is."""
    raw = memoryview(value)
    try:
        return msgspec.json.decode(raw, type=str) if len(raw) < _LONGEST_NUMBER else value
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value


class _Kind(Struct, frozen=True):
    """Whether a field takes texts, booleans, and lists."""

    text: bool
    boolean: bool
    items: bool


@cache
def _kinds(model: type[Struct]) -> Mapping[str, _Kind]:
    return {
        info.encode_name: _Kind(
            text=_takes("x", info.type), boolean=_takes(True, info.type), items=_takes([], info.type)
        )
        for info in fields(model)
    }


def _takes(value: Any, annotation: Any) -> bool:
    """Return whether a type takes values of this kind, if not this one."""
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError as error:
        return parse_violation(str(error)).got != _JSON_NAMES[type(value)]
    return True
