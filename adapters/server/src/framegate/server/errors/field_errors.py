"""Field-by-field errors of a request.

msgspec stops at the first error. Only a request that failed pays for the full list: its body is decoded
again without a type, and every field is validated against its own type.
"""

import codecs
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias

import msgspec
from msgspec import UNSET, Struct, inspect
from msgspec.structs import fields

from framegate.core.errors import InvalidRequest
from framegate.core.validation import Violation, ViolationKind, parse_violation

MAX_INPUT = 200
MAX_ITEMS = 20
MAX_ERRORS = 50
"""Errors that are listed: a body may have a million, and the answer would be larger than the body."""
MAX_VALUE = 2000
"""Characters of a value in an error, as JSON."""

Location: TypeAlias = tuple[str | int, ...]
Rules: TypeAlias = Callable[[Mapping[str, Any]], "Iterable[FieldError]"]
"""Checks that a type can't express, on the values of a body in their fields' types.

Values of the wrong type are already excluded.
"""


class FieldError(Struct, frozen=True):
    """What is wrong with one field.

    Attributes:
        location: The path to the value, such as ("target_shape", 1); empty for the body as a whole.
        kind: Pydantic's name of the error, such as "missing" or "greater_than_equal".
        message: A phrase for people, without the field and the value.
        value: The offending value, shortened; UNSET if there is none or it isn't known.
        source: Where the field was: body, query, path or header.
    """

    location: Location
    kind: str
    message: str
    value: Any = UNSET
    source: str = "body"

    @property
    def input(self) -> Any:
        """The value for error bodies that always have one."""
        return None if self.value is UNSET else self.value

    @property
    def field(self) -> str:
        """The location as people write it: ``target_shape[1]``."""
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.location)
        return name.removeprefix(".")

    @property
    def sentence(self) -> str:
        """The message with field and value in it."""
        if not self.location:
            return f"{self.message}."
        got = "" if self.value is UNSET else f", got {_shown(self.value)}"
        return f"{self.field}: {self.message}{got}."


class InvalidFields(InvalidRequest):
    """Some fields of the body are wrong; ``errors`` lists them, the first `MAX_ERRORS` of many."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors = tuple(islice(errors, MAX_ERRORS))
        super().__init__(
            " ".join(error.sentence for error in self.errors), param=self.errors[0].field or None
        )


def body_errors(
    raw: bytes, model: type[Struct], error: Exception, rules: Rules | None = None, *, strict: bool = True
) -> list[FieldError]:
    """Return all errors of the JSON body ``raw``, whose decoding as ``model`` raised ``error``.

    Unless ``strict``, strings may be numbers.
    """
    if not raw.strip():
        return [FieldError((), "missing", "A JSON body is required")]
    if b"\0" in raw[:4] or raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return [FieldError((), "json_invalid", "The body is UTF-16 or UTF-32; send JSON in UTF-8")]
    try:
        values = msgspec.json.decode(raw)
    except UnicodeDecodeError:
        return [FieldError((), "json_invalid", "The body is not valid UTF-8")]
    except RecursionError:
        return [FieldError((), "json_invalid", "The body is nested too deeply")]
    except msgspec.ValidationError:
        # A number is too large to be decoded without a type: only the typed decoder's error is known.
        return [_translated(error, (), UNSET)]
    except msgspec.DecodeError as malformed:
        return [FieldError((), "json_invalid", f"The body is not valid JSON: {malformed}")]
    return value_errors(values, model, rules, strict=strict) or [_translated(error, (), UNSET)]


def value_errors(
    values: object, model: type[Struct], rules: Rules | None = None, *, strict: bool = True
) -> list[FieldError]:
    """Return all errors of the plain ``values`` as ``model``, of unknown fields those of the first.

    Unless ``strict``, strings may be numbers, as in forms.
    """
    if not isinstance(values, dict):
        return [
            FieldError((), "model_attributes_type", "The body should be a JSON object", shortened(values))
        ]
    given: dict[str, Any] = {str(name): value for name, value in values.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # plain JSON
    known = {info.encode_name: info for info in fields(model)}
    typed: dict[str, Any] = {}
    found: list[FieldError] = []
    for name, info in known.items():
        if name not in given:
            if info.required:
                found.append(FieldError((name,), "missing", "This field is required"))
            continue
        try:
            typed[name] = msgspec.convert(given[name], info.type, strict=strict)
        except msgspec.ValidationError as error:
            found.append(_translated(error, (name,), given[name], info.type))
    if model.__struct_config__.forbid_unknown_fields:
        found += [
            FieldError((_cut(name),), "extra_forbidden", "There is no such field", shortened(given[name]))
            for name in islice((name for name in given if name not in known), MAX_ERRORS)
        ]
    return [*found, *(rules(typed) if rules else ())]


def parameter_error(name: str, source: str, message: str, annotation: Any = Any) -> FieldError:
    """Return the error for Litestar's message about a parameter of type ``annotation``.

    ``source`` is where the parameter is: path, query or header. Of a list the message is about one item.
    """
    choices = _choices(annotation, ()) or _choices(annotation, (0,))
    kind, text = _worded(parse_violation(message), "", choices)
    return FieldError((name,), kind, text, source=source)


def _translated(error: Exception, location: Location, value: Any, annotation: Any = Any) -> FieldError:
    """Translate msgspec's message into pydantic's; ``annotation`` is the type of the value."""
    violation = parse_violation(str(error))
    steps: Location = tuple(step for step in violation.path if step is not ...)
    for step in steps:
        value = _descend(value, step)
    kind, text = _worded(violation, value, _choices(annotation, steps))
    return FieldError((*location, *steps), kind, text, value if value is UNSET else shortened(value))


def _descend(value: Any, step: str | int) -> Any:
    try:
        return value[step]
    except (LookupError, TypeError):
        return UNSET


def _choices(annotation: Any, steps: Location) -> list[Any]:
    """Return the values that are allowed ``steps`` below a type, if they are a few named ones."""
    kinds = alternatives(inspect.type_info(annotation))
    for step in steps:
        kinds = [kind for outer in kinds for inner in _inside(outer, step) for kind in alternatives(inner)]
    values: list[Any] = []
    for kind in kinds:
        if isinstance(kind, inspect.LiteralType):
            values += kind.values
        elif isinstance(kind, inspect.EnumType):
            values += [member.value for member in kind.cls]
    return values


def alternatives(kind: inspect.Type) -> list[inspect.Type]:
    """Return the types of a union, or the type itself, without what constrains them."""
    match kind:
        case inspect.UnionType():
            return [one for each in kind.types for one in alternatives(each)]
        case inspect.Metadata():
            return alternatives(kind.type)
        case _:
            return [kind]


def _inside(kind: inspect.Type, step: str | int) -> list[inspect.Type]:
    match kind:
        case inspect.ListType() if isinstance(step, int):
            return [kind.item_type]
        case inspect.StructType():
            return [field.type for field in kind.fields if field.encode_name == step]
        case _:
            return []


_BOUNDS = {
    ">=": ("greater_than_equal", "greater than or equal to"),
    ">": ("greater_than", "greater than"),
    "<=": ("less_than_equal", "less than or equal to"),
    "<": ("less_than", "less than"),
}
_NAMES = {
    "int": "integer",
    "float": "number",
    "str": "string",
    "bool": "boolean",
    "array": "list",
    "object": "object",
}
_PATTERNS = {r"\S": "Input should not be blank"}


def _worded(violation: Violation, value: Any, choices: Sequence[Any] = ()) -> tuple[str, str]:
    match violation.kind:
        case ViolationKind.WRONG_TYPE if violation.got:
            return _wrong_type(violation.expected.removesuffix(" | null"), value)
        case ViolationKind.NOT_A_CHOICE:
            shown = [_shown(choice) for choice in choices] or ["one of the allowed values"]
            return "enum", f"Input should be {' or '.join(filter(None, (', '.join(shown[:-1]), shown[-1])))}"
        case ViolationKind.WRONG_LENGTH:
            return _wrong_length(violation.expected, violation.sign, violation.limit)
        case ViolationKind.OUT_OF_BOUNDS:
            kind, words = _BOUNDS[violation.sign]
            return kind, f"Input should be {words} {violation.limit.removesuffix('.0')}"
        case ViolationKind.PATTERN_MISMATCH:
            regex = violation.pattern
            return "string_pattern_mismatch", _PATTERNS.get(regex, f"Input should match {regex}")
        case _:
            return "value_error", _cut(violation.message)


def _wrong_type(expected: str, value: Any) -> tuple[str, str]:
    name = _NAMES.get(expected, expected)
    kind = "list" if expected == "array" else expected if expected.isalpha() else "value"
    parsing = isinstance(value, str) and expected in ("int", "float", "bool")
    article = "an" if name[0] in "aeiou" else "a"
    return (
        f"{'string' if kind == 'str' else kind}_{'parsing' if parsing else 'type'}",
        f"Input should be {article} {name}",
    )


def _wrong_length(expected: str, sign: str, length: str) -> tuple[str, str]:
    few = sign.startswith(">")
    limit = f"{'at least' if few else 'at most'} {length}"
    plural = "" if length == "1" else "s"
    if expected == "str":
        return f"string_too_{'short' if few else 'long'}", f"Input should have {limit} character{plural}"
    return f"too_{'short' if few else 'long'}", f"Input should have {limit} item{plural}"


def shortened(value: Any) -> Any:
    """Return the value as an error may show it: a few lines at most, always encodable."""
    for depth in (3, 2, 1):
        shown: Any = _shortened(value, depth)
        if type(shown) not in (list, dict) or len(msgspec.json.encode(shown)) <= MAX_VALUE:
            return shown
    return "…"


def _shortened(value: Any, depth: int) -> Any:
    match value:
        case bool() | None | float():
            return value
        case int():
            return (
                value
                if -(2**63) <= value < 2**63
                else _cut(str(value) if value.bit_length() < 4000 else "a huge integer")
            )
        case str():
            return _cut(value)
        case list() | dict() if depth == 0:
            return "…"
        case list():
            return [_shortened(item, depth - 1) for item in value[:MAX_ITEMS]]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # plain JSON
        case dict():
            items = list(value.items())[:MAX_ITEMS]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] # plain JSON
            return {_cut(str(name)): _shortened(item, depth - 1) for name, item in items}  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] # plain JSON
        case _:
            return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_INPUT else f"{text[:MAX_INPUT]}…"


def _shown(value: Any) -> str:
    return _cut(msgspec.json.encode(value).decode())
