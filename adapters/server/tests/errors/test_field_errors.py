"""Field errors: every wrong field is named, in pydantic's words."""

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, Struct, UnsetType

from framegate.server.errors.field_errors import (
    MAX_ERRORS,
    MAX_VALUE,
    FieldError,
    InvalidFields,
    body_errors,
    parameter_error,
    shortened,
    value_errors,
)


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Nested(Struct):
    order: Annotated[Literal["asc"], Meta(description="x")]


class Strict(Struct, forbid_unknown_fields=True):
    order: str = ""


class Body(Struct, forbid_unknown_fields=True):
    prompt: Annotated[str, Meta(min_length=1, max_length=5, pattern=r"\S")]
    count: Annotated[int, Meta(ge=1, lt=10)] = 1
    scale: Annotated[float, Meta(gt=0, le=2)] = 1.0
    flag: bool = False
    shape: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(max_length=2)] = []
    seed: Annotated[int, Meta(ge=0)] | None = None
    steps: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    size: Literal["480x832", "auto"] | None = None
    states: list[State] = []
    nested: Nested | None = None
    strict: Strict | None = None


def errors_of(raw: bytes) -> list[FieldError]:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as caught:
        msgspec.json.decode(raw, type=Body)
    return body_errors(raw, Body, caught.value)


@pytest.mark.parametrize(
    ("field", "value", "kind", "message"),
    [
        ("prompt", '""', "string_too_short", "Input should have at least 1 character"),
        ("prompt", '"123456"', "string_too_long", "Input should have at most 5 characters"),
        ("prompt", '" "', "string_pattern_mismatch", "Input should not be blank"),
        ("prompt", "3", "string_type", "Input should be a string"),
        ("prompt", "null", "string_type", "Input should be a string"),
        ("count", "0", "greater_than_equal", "Input should be greater than or equal to 1"),
        ("count", "10", "less_than_equal", "Input should be less than or equal to 9"),
        ("count", '"5"', "int_parsing", "Input should be an integer"),
        ("count", "5.5", "int_type", "Input should be an integer"),
        ("count", "true", "int_type", "Input should be an integer"),
        ("scale", "0", "greater_than", "Input should be greater than 0"),
        ("scale", "2.5", "less_than_equal", "Input should be less than or equal to 2"),
        ("scale", "[]", "float_type", "Input should be a number"),
        ("flag", '"x"', "bool_parsing", "Input should be a boolean"),
        ("shape", "[1,2,3]", "too_long", "Input should have at most 2 items"),
        ("shape", "{}", "list_type", "Input should be a list"),
        ("seed", "-1", "greater_than_equal", "Input should be greater than or equal to 0"),
        ("seed", '"a"', "int_parsing", "Input should be an integer"),
        ("steps", "null", "int_type", "Input should be an integer"),
        ("size", '"832x832"', "enum", 'Input should be "480x832" or "auto"'),
        ("other", "1", "extra_forbidden", "There is no such field"),
    ],
)
def test_each_kind(field: str, value: str, kind: str, message: str) -> None:
    fields = {"prompt": '"ok"', field: value}
    raw = "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"
    (error,) = errors_of(raw.encode())
    assert (error.location, error.kind, error.message) == ((field,), kind, message)
    assert error.input == msgspec.json.decode(value)


def test_all_are_listed() -> None:
    found = errors_of(b'{"count": "a", "scale": 5, "shape": [1, 0], "zz": 1}')
    assert [(error.field, error.kind) for error in found] == [
        ("prompt", "missing"),
        ("count", "int_parsing"),
        ("scale", "less_than_equal"),
        ("shape[1]", "greater_than_equal"),
        ("zz", "extra_forbidden"),
    ]
    assert found[3].input == 0
    assert found[1].sentence == 'count: Input should be an integer, got "a".'
    assert found[0].sentence == "prompt: This field is required."


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "missing"),
        (b"  ", "missing"),
        (b"{", "json_invalid"),
        (b"nonsense", "json_invalid"),
        (b'{"prompt": NaN}', "json_invalid"),
        (b'{"prompt": "\xff"}', "json_invalid"),
        (b'{"prompt": "\\ud800"}', "json_invalid"),
        (b"[" * 100_000, "json_invalid"),
        (b'{"zz": ' * 100_000, "json_invalid"),
        (b"[]", "model_attributes_type"),
        (b"3", "model_attributes_type"),
        (b'{"count": 1e999}', "value_error"),
    ],
)
def test_bodies_beyond_fields(raw: bytes, kind: str) -> None:
    (error,) = errors_of(raw)
    assert error.kind == kind


def test_huge_integers() -> None:
    found = errors_of(b'{"prompt": "x", "count": ' + b"9" * 4000 + b"}")
    assert [error.field for error in found] == ["count"]
    msgspec.json.encode(found[0].input)


def test_forms_take_numbers_as_text() -> None:
    assert value_errors({"prompt": "x", "count": "5", "flag": "true"}, Body, strict=False) == []
    (error,) = value_errors({"prompt": "x", "count": "50"}, Body, strict=False)
    assert error.kind == "less_than_equal"


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000, list(range(10_000)), {"a": {"b": {"c": {"d": 1}}}}, 10**5000, -(10**30), None, 1.5, True],
    ids=["text", "list", "nested", "huge", "below-int64", "null", "float", "bool"],
)
def test_inputs_stay_short(value: Any) -> None:
    assert len(msgspec.json.encode(shortened(value))) < 500


def test_allowed_values_are_listed_wherever_they_are() -> None:
    found = errors_of(b'{"prompt": "x", "states": ["queued", "lost"], "nested": {"order": "up"}}')
    assert [error.sentence for error in found] == [
        'states[1]: Input should be "queued", "running" or "done", got "lost".',
        'nested.order: Input should be "asc", got "up".',
    ]


def test_only_known_values_are_told() -> None:
    (error,) = errors_of(b'{"prompt": null}')
    assert error.sentence == "prompt: Input should be a string, got null."
    unknown = FieldError(("image",), "file_type", "This should be an uploaded file")
    assert unknown.sentence == "image: This should be an uploaded file."
    assert unknown.input is None
    query = parameter_error("order", "query", "Invalid enum value 'up'", Literal["asc", "desc"])
    assert query.sentence == 'order: Input should be "asc" or "desc".'


def test_errors_are_no_longer_than_people_read() -> None:
    many = errors_of(msgspec.json.encode({"prompt": "x", "count": 0, **{f"k{n}": 1 for n in range(100_000)}}))
    assert [error.field for error in many[:3]] == ["count", "k0", "k1"]
    assert len(many) < 100
    (long,) = errors_of(msgspec.json.encode({"prompt": "x", "k" * 100_000: 1}))
    assert long.kind == "extra_forbidden"
    assert len(long.sentence) < 300
    (nested,) = errors_of(msgspec.json.encode({"prompt": "x", "strict": {"k" * 100_000: 1}}))
    assert nested.field == "strict"
    assert len(nested.message) < 300


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.text("\x01"),
        lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner, max_size=5),
        max_leaves=20,
    )
)
@example([["\x01" * 500] * 20] * 20)
@example({str(number): {"x" * 300: ["\x01" * 500] * 20} for number in range(20)})
@example(10**5000)
def test_a_shown_value_is_short(value: Any) -> None:
    assert len(msgspec.json.encode(shortened(value))) <= MAX_VALUE


def test_errors_stop_at_a_number() -> None:
    errors = InvalidFields(FieldError((str(number),), "missing", "x") for number in range(10**6))
    assert len(errors.errors) == MAX_ERRORS
    assert len(errors.message) < 1000
