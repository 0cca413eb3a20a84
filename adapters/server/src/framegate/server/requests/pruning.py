"""Drop what has no effect from a body: nulls for optional fields, and ignored unknown fields."""

from functools import cache
from operator import is_
from typing import Any

import msgspec
from litestar import Request
from msgspec import Raw, Struct, inspect

from framegate.server.errors.field_errors import alternatives
from framegate.server.requests.unknown_fields import note_ignored_fields, unknown_fields_policy

MAX_ITEMS = 10_000
"""The items of a list up to which each is looked at; longer lists stay as they are."""
_NULL = b"null"


def prune(request: Request[Any, Any, Any], raw: bytes, model: type[Struct]) -> bytes:
    """Return a JSON body without what has no effect, at any depth; what isn't JSON stays as it is.

    The names of ignored fields are noted for the response.
    """
    ignored: list[str] | None = None if unknown_fields_policy(request) == "refuse" else []
    try:
        pruned = _pruned(Raw(raw.strip()), _type_info(model), "", ignored)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw
    note_ignored_fields(request, ignored or ())
    return bytes(pruned)


@cache
def _type_info(model: type[Struct]) -> inspect.Type:
    return inspect.type_info(model)


def _pruned(value: Raw, kind: inspect.Type, path: str, ignored: list[str] | None) -> Raw:
    """Return ``value`` pruned as ``kind``; the paths of ignored fields go to ``ignored``, if it is a list."""
    for one in alternatives(kind):
        match one, memoryview(value)[:1].tobytes():
            case inspect.StructType(), b"{":
                return _pruned_object(value, one, path, ignored)
            case inspect.ListType(), b"[":
                items = msgspec.json.decode(value, type=list[Raw])
                if len(items) > MAX_ITEMS:
                    return value
                pruned = [_pruned(item, one.item_type, path, ignored) for item in items]
                return value if all(map(is_, items, pruned)) else Raw(msgspec.json.encode(pruned))
            case _:
                pass
    return value


def _pruned_object(value: Raw, kind: inspect.StructType, path: str, ignored: list[str] | None) -> Raw:
    known = {field.encode_name: field for field in kind.fields}
    given = msgspec.json.decode(value, type=dict[str, Raw])
    kept: dict[str, Raw] = {}
    for name, item in given.items():
        is_null = memoryview(item)[:5].tobytes() == _NULL
        if (field := known.get(name)) is None:
            if is_null:  # nothing is asked for
                continue
            if kind.forbid_unknown_fields and ignored is not None:
                ignored.append(f"{path}{name}")
            else:
                kept[name] = item
        elif not is_null or not _omits_null(field):
            kept[name] = _pruned(item, field.type, f"{path}{name}.", ignored)
    unchanged = len(kept) == len(given) and all(kept[name] is item for name, item in given.items())
    return value if unchanged else Raw(msgspec.json.encode(kept))


def _omits_null(field: inspect.Field) -> bool:
    """Return whether a field is optional and takes no null, so that one counts as omitted."""
    kinds = alternatives(field.type)
    return not field.required and not any(
        isinstance(kind, inspect.NoneType | inspect.AnyType) for kind in kinds
    )
