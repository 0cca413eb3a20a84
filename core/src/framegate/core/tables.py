"""Conversion of config tables into Structs, with everything that is wrong in them found at once.

msgspec stops at the first value that doesn't fit. So what it refuses is noted and left out, and the rest is
converted again, until what remains is right.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Struct, inspect

from framegate.core.config_errors import suggest
from framegate.core.errors import ConfigError, ConfigKey, dotted
from framegate.core.options import Duration, DurationOrForever, EnvSecret, decode_value, is_too_long
from framegate.core.validation import Violation, ViolationKind, parse_violation

Table = TypeVar("Table", bound=Struct)

_SECRET_NAME = re.compile("key|password|secret|token", re.IGNORECASE)
_SECRET_TABLES = frozenset({"auth", "links", "webhooks"})
_PASSWORD = re.compile(r"//.*@")
_NO_LIMIT = 2**31
"""Bounds from here on keep numbers representable, which nobody needs to read about."""
_NOT_IN_THE_FILE = "a secret is not written into the file"


class _Entries(list[Any]):
    """A list that knows which of the original's entries it still has."""

    def __init__(self, entries: Iterable[Any]) -> None:
        super().__init__(entries)
        self.indexes = list(range(len(self)))


def convert_table(
    table: Mapping[str, Any], model: type[Table], *, strict: bool = True
) -> tuple[Table | None, list[ConfigError]]:
    """Return ``table`` as ``model`` without what is wrong in it, and an error for each thing that is.

    The value is None if nothing remains to make one of. Unless ``strict``, numbers and booleans may be
    texts. No error shows what may be a secret.
    """
    rest: Any = _copy(table)
    schema = inspect.type_info(model)
    errors: list[ConfigError] = []
    while True:
        try:
            return msgspec.convert(rest, model, dec_hook=decode_value, strict=strict), errors
        except msgspec.ValidationError as error:
            violation = parse_violation(str(error))
        path = _resolve(rest, violation.path, model, strict=strict)
        found = _explain(violation, path, rest, schema)
        if not _follows(violation, found, errors):
            errors.append(found)
        if violation.kind == ViolationKind.UNKNOWN_FIELD:
            path = (*path, violation.field)
        if not path:
            return None, errors
        _remove(rest, path)


def _follows(violation: Violation, found: ConfigError, errors: Iterable[ConfigError]) -> bool:
    """Return whether it is wrong only because something in it was left out."""
    if violation.kind == ViolationKind.MISSING_FIELD:
        return any(error.key == (*found.key, violation.field) for error in errors)
    depth = len(found.key)
    return any(len(error.key) > depth and error.key[:depth] == found.key for error in errors)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        table = cast("Mapping[str, Any]", value)
        return {name: _copy(entry) for name, entry in table.items()}
    if isinstance(value, list | tuple):
        return _Entries(map(_copy, cast("list[Any]", value)))
    return value


def _at(rest: Any, path: ConfigKey) -> Any:
    for step in path:
        rest = rest[step]
    return rest


def _remove(rest: Any, path: ConfigKey) -> None:
    parent, last = _at(rest, path[:-1]), path[-1]
    if isinstance(parent, _Entries):
        assert isinstance(last, int)
        del parent.indexes[last], parent[last]
    else:
        del parent[last]


def _resolve(rest: Any, path: Iterable[Any], model: type[Struct], *, strict: bool) -> ConfigKey:
    """Return the path with the names of the entries of dicts, for which msgspec gives dots."""
    found: ConfigKey = ()
    given = tuple(path)
    for depth, step in enumerate(given):
        found = (
            *found,
            step if step is not ... else _refused(rest, found, given[: depth + 1], model, strict),
        )
    return found


def _refused(rest: Any, found: ConfigKey, given: tuple[Any, ...], model: type[Struct], strict: bool) -> str:
    """Return the name in the dict at ``found`` whose entry is refused also when the others aren't there."""
    entries: dict[str, Any] = _at(rest, found)
    every = dict(entries)
    try:
        for name, entry in every.items():
            entries.clear()
            entries[name] = entry
            try:
                msgspec.convert(rest, model, dec_hook=decode_value, strict=strict)
            except msgspec.ValidationError as error:
                if parse_violation(str(error)).path[: len(given)] == given:
                    return name
    finally:
        entries.clear()
        entries.update(every)
    raise AssertionError(f"every entry of {dotted(found)} is right")


def _explain(violation: Violation, path: ConfigKey, rest: Any, schema: inspect.Type) -> ConfigError:
    key = _original(rest, path)
    expected = _type_at(schema, path)
    match violation.kind:
        case ViolationKind.UNKNOWN_FIELD:
            known = [name for each in _alternatives(expected) for name in _fields(each)]
            return ConfigError(
                f"unknown setting{suggest(violation.field, known)}", key=(*key, violation.field)
            )
        case ViolationKind.MISSING_FIELD:
            form = _form(_type_at(expected, (violation.field,)))
            return ConfigError(f"{violation.field} is missing; write {form}.", key=key)
        case ViolationKind.OTHER if not isinstance(expected, inspect.CustomType):
            return ConfigError(f"{violation.message}.", key=key)
        case _ if violation.of_key:
            return ConfigError("a name in this table is not a text.", key=key)
        case _:
            return ConfigError(_refusal(_at(rest, path), expected, key), key=key)


def _refusal(value: Any, expected: inspect.Type, key: ConfigKey) -> str:
    """Return what is wrong with ``value``, and what would be right."""
    alternatives, form = _alternatives(expected), _form(expected)
    lists = any(isinstance(each, inspect.VarTupleType | inspect.ListType) for each in alternatives)
    tables = any(isinstance(each, inspect.StructType | inspect.DictType) for each in alternatives)
    holds_secret = any(_is_env_secret(each) for each in alternatives)
    if isinstance(value, dict) and lists and not tables:
        return f"this is a table, and there may be several: write [[{dotted(key)}]], with two brackets."
    if isinstance(value, list) and tables and not lists:
        return f"this is a list of tables, and there is one: write [{dotted(key)}], with single brackets."
    if holds_secret and not isinstance(value, dict):
        return f"write {form}; {_NOT_IN_THE_FILE}."
    hidden = (key[:1] and key[0] in _SECRET_TABLES) or any(_SECRET_NAME.search(str(step)) for step in key)
    if isinstance(value, dict | list) or hidden:
        return f"this is not {form}."
    text = value.isoformat() if isinstance(value, datetime) else json.dumps(value, ensure_ascii=False)
    shown = _PASSWORD.sub("//…@", text)[:200]
    if any(_is_duration(each) for each in alternatives) and is_too_long(value):
        return f'{shown} is more than a hundred years; write "36500d" or less.'
    if lists and not tables:
        return f"{shown} is not a list; write [{shown}]."
    choices = [str(choice) for each in alternatives for choice in _choices(each)]
    near = suggest(value, choices) if choices and isinstance(value, str) else ""
    return f"{shown} is not {form}{near if near.startswith('; did') else '.'}"


def _original(rest: Any, path: ConfigKey) -> ConfigKey:
    """Return the path in the table as it was, before entries of lists were left out."""
    key: list[str | int] = []
    here: Any = rest
    for step in path:
        indexes: list[int] | None = getattr(here, "indexes", None)
        key.append(indexes[step] if indexes is not None and isinstance(step, int) else step)
        here = here[step]
    return tuple(key)


def _alternatives(schema: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union other than null, or the type itself, without descriptions."""
    bare = schema.type if isinstance(schema, inspect.Metadata) else schema
    parts = _parts(bare)
    return parts if parts == [bare] else [each for part in parts for each in _alternatives(part)]


def _parts(schema: inspect.Type) -> list[inspect.Type]:
    types = schema.types if isinstance(schema, inspect.UnionType) else (schema,)
    return [each for each in types if not isinstance(each, inspect.NoneType)]


def _fields(schema: inspect.Type) -> Mapping[str, inspect.Type]:
    if not isinstance(schema, inspect.StructType):
        return {}
    return {field.encode_name: field.type for field in schema.fields}


def _type_at(schema: inspect.Type, path: ConfigKey) -> inspect.Type:
    for step in path:
        schema = next(_steps(schema, step), inspect.AnyType())
    return schema


def _steps(schema: inspect.Type, step: str | int) -> Iterator[inspect.Type]:
    for each in _alternatives(schema):
        if isinstance(step, int):
            if isinstance(each, inspect.VarTupleType | inspect.ListType):
                yield each.item_type
        elif isinstance(each, inspect.DictType):
            yield each.value_type
        elif step in (fields := _fields(each)):
            yield fields[step]


def _is_env_secret(schema: inspect.Type) -> bool:
    return isinstance(schema, inspect.StructType) and schema.cls is EnvSecret


def _is_duration(schema: inspect.Type) -> bool:
    return isinstance(schema, inspect.CustomType) and issubclass(schema.cls, Duration)


def _choices(schema: inspect.Type) -> list[Any]:
    if isinstance(schema, inspect.LiteralType):
        return list(schema.values)
    return [member.value for member in schema.cls] if isinstance(schema, inspect.EnumType) else []


def _form(schema: inspect.Type) -> str:
    """Return what a value of this type looks like: the type's own description, or one that fits its kind."""
    if isinstance(schema, inspect.Metadata):
        more = cast("dict[str, Any]", schema.extra_json_schema or {})
        described = more.get("description")
        return str(described) if described else _form(schema.type)
    parts = _parts(schema)
    if len(parts) > 1:
        forms = [_form(part) for part in parts]
        # "X or a list of X" needs no more words than X.
        return " or ".join(dict.fromkeys(form for form in forms if not _lists_another(form, forms)))
    match parts[0] if parts else None:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType() | inspect.FloatType() as number:
            return _number_form(number)
        case inspect.StrType() as text:
            return _text_form(text)
        case inspect.LiteralType() | inspect.EnumType() as choice:
            return " or ".join(json.dumps(value, ensure_ascii=False) for value in _choices(choice))
        case inspect.VarTupleType() | inspect.ListType() as several:
            minimum = f" of at least {several.min_length}" if several.min_length else ""
            return f"a list{minimum} ([…, …]), each of them {_form(several.item_type)}"
        case inspect.CustomType(cls=kind) if issubclass(kind, Duration):
            forever = ' or "forever"' if issubclass(kind, DurationOrForever) else ""
            return f'a duration such as "90s", "15m" or "1h"{forever}'
        case inspect.CustomType(cls=kind) if issubclass(kind, Path):
            return "a path in quotes"
        case inspect.DateTimeType():
            return "a time with its zone, such as 2030-01-01T00:00:00Z"
        case inspect.StructType() as struct if _is_env_secret(struct):
            return '{ env = "VARIABLE" }, which names the environment variable that holds it'
        case inspect.StructType() | inspect.DictType():
            return "a table"
        case _:
            return "a value of the right type"


def _lists_another(form: str, forms: list[str]) -> bool:
    return any(form.endswith(f", each of them {other}") for other in forms)


def _number_form(number: inspect.IntType | inspect.FloatType) -> str:
    kind = "a whole number" if isinstance(number, inspect.IntType) else "a number"
    low, high = number.ge, number.le
    high = high if high is None or high < _NO_LIMIT else None
    low = low if low is None or low > -_NO_LIMIT else None
    if number.gt is not None:
        kind = f"{kind} above {number.gt:g}"
    if number.lt is not None:
        kind = f"{kind} below {number.lt:g}"
    if low is not None and high is not None:
        return f"{kind} from {low:.12g} to {high:.12g}"
    if high is not None:
        return f"{kind} of at most {high:.12g}"
    return kind if low is None else f"{kind} of at least {low:.12g}"


def _text_form(text: inspect.StrType) -> str:
    if text.pattern is not None:
        return f"a text that matches {text.pattern}"
    if text.max_length is not None:
        return f"a text of {text.min_length or 0} to {text.max_length} characters"
    return "a text in quotes"
