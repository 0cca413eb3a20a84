"""msgspec's sentences are understood: all that the installed version has."""

import datetime
import decimal
import enum
import re
import time
import uuid
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pytest
from msgspec import Meta, Struct

from framegate.core.validation import Violation, ViolationKind, parse_violation

Attempt = Callable[[], object]
K = ViolationKind


class Body(Struct, forbid_unknown_fields=True):
    a: int
    b: list[Annotated[str, Meta(min_length=2)]] = []
    c: dict[str, int] = {}
    d: dict[str, list["Body"]] = {}


class One(Struct, tag="one"):
    pass


class Two(Struct, tag="two"):
    pass


class First(Struct, tag=1):
    pass


class Second(Struct, tag=2):
    pass


class Row(Struct, array_like=True, forbid_unknown_fields=True):
    x: int
    y: int = 0
    z: int = 0


class FullRow(Struct, array_like=True, forbid_unknown_fields=True):
    x: int
    y: int


class TaggedRow(Struct, array_like=True, tag=True):
    x: int


class Pair(NamedTuple):
    x: int
    y: int = 0


class Letter(enum.Enum):
    A = "a"


class Checked(Struct):
    a: int

    def __post_init__(self) -> None:
        raise ValueError("a is not to my liking")


class Foreign:
    pass


def convert(value: object, kind: Any, **options: Any) -> Attempt:
    return lambda: msgspec.convert(value, kind, **options)


def decode(text: str, kind: Any, **options: Any) -> Attempt:
    return lambda: msgspec.json.decode(text, type=kind, **options)


def unpack(data: bytes, kind: Any) -> Attempt:
    return lambda: msgspec.msgpack.decode(data, type=kind)


def limited(kind: Any, **limits: Any) -> Any:
    return Annotated[kind, Meta(**limits)]


def refuse(kind: type, value: object) -> object:
    raise ValueError("Expected a duration such as `90s` - at `$.best`")


def expect(kind: ViolationKind, **parts: Any) -> dict[str, Any]:
    return {"kind": kind, **parts}


PROVOKED: list[tuple[Attempt, dict[str, Any]]] = [
    (convert("x", int), expect(K.WRONG_TYPE, expected="int", got="str", path=())),
    (convert([], int | str | None), expect(K.WRONG_TYPE, expected="int | str | null", got="array")),
    (convert({"a": "x"}, Body), expect(K.WRONG_TYPE, expected="int", got="str", path=("a",))),
    (convert({"a": 1, "c": {"k": "x"}}, Body), expect(K.WRONG_TYPE, path=("c", ...))),
    (
        convert({"a": 1, "d": {"k": [dict[str, int]()]}}, Body),
        expect(K.MISSING_FIELD, field="a", path=("d", ..., 0)),
    ),
    (convert({1: 1}, Body), expect(K.WRONG_TYPE, expected="str", got="", of_key=True, path=())),
    (convert({"k": {"x": 1}}, dict[str, dict[int, int]]), expect(K.WRONG_TYPE, of_key=True, path=(...,))),
    (unpack(b"\x81\x01\x01", Body), expect(K.WRONG_TYPE, expected="str")),
    (convert("x", bool, strict=False), expect(K.WRONG_TYPE, expected="bool", got="str")),
    (convert({}, Body), expect(K.MISSING_FIELD, field="a")),
    (convert({}, One | Two), expect(K.MISSING_FIELD, field="type")),
    (convert({"a": 1, "q": 2}, Body), expect(K.UNKNOWN_FIELD, field="q")),
    (convert({"a": 1, "`q` is": 2}, Body), expect(K.UNKNOWN_FIELD, field="`q` is", path=())),
    (convert({"a": 1, "b": ["xx", ""]}, Body), expect(K.WRONG_LENGTH, sign=">=", limit="2", path=("b", 1))),
    (convert(1, limited(int, ge=2)), expect(K.OUT_OF_BOUNDS, expected="int", sign=">=", limit="2")),
    (convert(1, limited(int, le=-2)), expect(K.OUT_OF_BOUNDS, expected="int", sign="<=", limit="-2")),
    (convert(1.0, limited(float, gt=1.0)), expect(K.OUT_OF_BOUNDS, expected="float", sign=">", limit="1.0")),
    (convert(1.0, limited(float, lt=1e-7)), expect(K.OUT_OF_BOUNDS, sign="<", limit="1e-07")),
    (convert(3, limited(int, multiple_of=2)), expect(K.NOT_A_MULTIPLE, expected="int", limit="2")),
    (convert(3.0, limited(float, multiple_of=2.5)), expect(K.NOT_A_MULTIPLE, limit="2.5")),
    *(
        (convert(value, limited(kind, **{bound: 2})), expect(K.WRONG_LENGTH, expected=name, sign=sign))
        for kind, name, short, long in (
            (str, "str", "", "aaa"),
            (bytes, "bytes", b"", b"aaa"),
            (list[int], "array", list[int](), [1, 2, 3]),
            (dict[int, int], "object", dict[int, int](), {1: 1, 2: 2, 3: 3}),
        )
        for value, bound, sign in ((short, "min_length", ">="), (long, "max_length", "<="))
    ),
    *(
        (convert("aaa", limited(str, pattern=pattern)), expect(K.PATTERN_MISMATCH, pattern=pattern))
        for pattern in (r"^\d+x\d+$", "^it's$", "'\"\\\\ \n`")
    ),
    (convert("z", Letter), expect(K.NOT_A_CHOICE)),
    (convert(5, Literal[1, 2]), expect(K.NOT_A_CHOICE)),
    (convert("' - at `$.a`" * 9, Letter), expect(K.NOT_A_CHOICE, path=())),
    (convert({"type": "three"}, One | Two), expect(K.UNKNOWN_TAG, path=("type",))),
    (convert({"type": 3}, First | Second), expect(K.UNKNOWN_TAG, path=("type",))),
    (decode('{"type": "three"}', One | Two), expect(K.UNKNOWN_TAG, path=("type",))),
    (decode('{"type": -3}', First | Second), expect(K.UNKNOWN_TAG, path=("type",))),
    (decode(f'{{"type": {2**64 - 1}}}', First | Second), expect(K.UNKNOWN_TAG, path=("type",))),
    (convert([1], tuple[int, int]), expect(K.WRONG_SIZE, expected="array")),
    (decode("[1]", tuple[int, int]), expect(K.WRONG_SIZE, expected="array")),
    (convert([], Pair), expect(K.WRONG_SIZE, expected="array")),
    (decode("[]", Pair), expect(K.WRONG_SIZE, expected="array")),
    (convert([], Row), expect(K.WRONG_SIZE, expected="array")),
    (convert([1, 2, 3, 4], Row), expect(K.WRONG_SIZE, expected="array")),
    (decode("[]", Row), expect(K.WRONG_SIZE, expected="array")),
    (decode("[1, 2, 3, 4]", Row), expect(K.WRONG_SIZE, expected="array")),
    (decode("[1]", FullRow), expect(K.WRONG_SIZE, expected="array")),
    (convert([], TaggedRow), expect(K.WRONG_SIZE, expected="array")),
    (unpack(b"\x90", TaggedRow), expect(K.WRONG_SIZE, expected="array")),
    (convert("2020-01-01T00:00:00", limited(datetime.datetime, tz=True)), expect(K.WRONG_TIMEZONE)),
    (convert("2020-01-01T00:00:00Z", limited(datetime.datetime, tz=False)), expect(K.WRONG_TIMEZONE)),
    (convert("x", datetime.datetime), expect(K.MALFORMED)),
    (convert("x", datetime.date), expect(K.MALFORMED)),
    (convert("x", datetime.time), expect(K.MALFORMED)),
    (convert("x", datetime.timedelta), expect(K.MALFORMED)),
    (convert("P1Y", datetime.timedelta), expect(K.MALFORMED)),
    (convert("x", uuid.UUID), expect(K.MALFORMED)),
    (unpack(b"\xc4\x02xx", uuid.UUID), expect(K.MALFORMED)),
    (convert("x", decimal.Decimal), expect(K.MALFORMED)),
    (convert("x!", bytes), expect(K.MALFORMED)),
    (convert(float("nan"), datetime.datetime, strict=False), expect(K.MALFORMED)),
    (unpack(b"\xc7\x01\xff\x00", datetime.datetime), expect(K.MALFORMED)),
    (unpack(b"\xd7\xff" + b"\xff" * 8, datetime.datetime), expect(K.MALFORMED)),
    (convert(1e300, datetime.datetime, strict=False), expect(K.UNREPRESENTABLE)),
    (convert(1e300, datetime.timedelta, strict=False), expect(K.UNREPRESENTABLE)),
    (decode("1e999", float), expect(K.UNREPRESENTABLE)),
    (decode("9" * 5000, Any), expect(K.UNREPRESENTABLE)),
    (convert({"k": [1]}, dict[str, list[Foreign]], dec_hook=refuse), expect(K.OTHER, path=(..., 0))),
    (convert([{"a": 1}], list[Checked]), expect(K.OTHER, message="a is not to my liking", path=(0,))),
]


def message_of(attempt: Attempt) -> str:
    with pytest.raises(msgspec.ValidationError) as caught:
        attempt()
    return str(caught.value)


@pytest.mark.parametrize(("attempt", "parts"), PROVOKED)
def test_every_sentence_is_understood(attempt: Attempt, parts: dict[str, Any]) -> None:
    violation = parse_violation(message_of(attempt))
    assert {name: getattr(violation, name) for name in parts} == parts, violation


def test_there_is_no_sentence_that_is_not_provoked_here() -> None:
    """A version of msgspec with new or other words is noticed by what its own library holds."""
    known = [message_of(attempt) for attempt, _ in PROVOKED]
    # What is formatted and ends in a path; the first three are parts of sentences.
    library = Path(str(import_module("msgspec._core").__file__)).read_bytes()
    found = {text.decode() for text in re.findall(rb"(?<=\0)[ -~]+%U(?=\0)", library)}
    sentences = {text for text in found if text not in (" - at %U", "%S%U", "%s%U")}
    assert len(sentences) > 30
    unknown = [text for text in sentences if not any(_pattern(text).fullmatch(line) for line in known)]
    assert unknown == []


def _pattern(template: str) -> re.Pattern[str]:
    fixed = re.split(r"%(?:zd|lld|llu|[SRUs])", template)
    return re.compile(".*".join(map(re.escape, fixed)), re.DOTALL)


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("Expected `int`, got `str`", ""),
        ("Expected `int`, got `str` - at `$.servers[0].url`", ".servers[0].url"),
        ("Expected `int`, got `str` - at `$[...][12]`", "[...][12]"),
        ("Expected `int`, got `str` - at `key` in `$.a[...]`", ".a[...]"),
    ],
)
def test_the_location_is_written_as_msgspec_does(text: str, location: str) -> None:
    assert parse_violation(text).location == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Something else altogether - at `$.a`",
        "Expected `int` to be prettier",
        "Expected `str` matching regex nothing that Python wrote",
        "Object contains unknown field",
    ],
)
def test_other_words_are_passed_on(text: str) -> None:
    violation = parse_violation(text)
    assert violation.kind == ViolationKind.OTHER
    assert violation.message == text.removesuffix(" - at `$.a`")


@pytest.mark.parametrize(
    "unit", ["`", " - at `$", "[0]", "Expected `int`", ", got `", "'", "\\", " of length "]
)
@pytest.mark.parametrize(
    "start", ["Object contains unknown field `", "Expected `int`", "Invalid enum value '", "x - at `$"]
)
def test_long_texts_of_clients_take_linear_time(start: str, unit: str) -> None:
    def seconds(length: int) -> float:
        text = f"{start}{unit * (length // len(unit))}`"
        began = time.process_time()
        assert isinstance(parse_violation(text), Violation)
        return time.process_time() - began

    assert seconds(400_000) < 2.0  # what is quadratic takes minutes
