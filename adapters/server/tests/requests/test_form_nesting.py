"""Form fields with brackets in their names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._qs import stringify_items  # pyright: ignore[reportPrivateUsage] # what the SDK really sends

from framegate.core.errors import InvalidRequest
from framegate.server.requests.form_nesting import MAX_DEPTH, MAX_FIELDS, nest

NAMES = st.text(st.characters(exclude_characters="[]", exclude_categories=["Cs"]), min_size=1, max_size=5)
TEXTS = st.text(max_size=5)
OBJECTS = st.dictionaries(NAMES, TEXTS, min_size=1, max_size=3)
SAME_KEYS = st.lists(NAMES, min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, TEXTS)), min_size=1, max_size=4)
)
TREES = st.dictionaries(
    NAMES,
    TEXTS
    | OBJECTS
    | st.lists(TEXTS, min_size=1, max_size=4)
    | SAME_KEYS
    | st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=3) | OBJECTS, min_size=1, max_size=2),
    max_size=4,
)


def sent(tree: Any) -> list[tuple[str, str]]:
    return stringify_items(tree, array_format="brackets")


@given(TREES)
def test_what_the_sdk_flattens_comes_back(tree: dict[str, Any]) -> None:
    assert nest(sent(tree)) == tree


@given(TREES)
def test_fields_of_one_name_may_stand_together(tree: dict[str, Any]) -> None:
    """Return the fields by which the SDK sends a list of objects in a form."""
    grouped: dict[str, list[str]] = {}
    for name, value in sent(tree):
        grouped.setdefault(name, []).append(value)
    assert nest((name, value) for name, values in grouped.items() for value in values) == tree


@given(st.lists(st.tuples(st.text("a[]b", max_size=12), TEXTS), max_size=12))
def test_any_names(fields: list[tuple[str, str]]) -> None:
    """Any form becomes a structure with all of its values, or an error that names a field."""
    try:
        found = nest(fields)
    except InvalidRequest as error:
        assert error.param in [name for name, _ in fields]  # noqa: PT017 # not every name is refused
    else:
        assert sorted(leaves(found)) == sorted(value for _, value in fields)


def leaves(node: Any) -> list[str]:
    match node:
        case dict():
            return [leaf for child in node.values() for leaf in leaves(child)]  # pyright: ignore[reportUnknownVariableType] # any depth
        case list():
            return [leaf for child in node for leaf in leaves(child)]  # pyright: ignore[reportUnknownVariableType] # any depth
        case _:
            return [node]


@pytest.mark.parametrize(
    ("fields", "tree"),
    [
        ([("a", "1")], {"a": "1"}),
        ([("a[b]", "1"), ("a[c]", "2")], {"a": {"b": "1", "c": "2"}}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        (
            [("l[][p]", "a"), ("l[][s]", "1"), ("l[][p]", "b"), ("l[][s]", "2")],
            {"l": [{"p": "a", "s": "1"}, {"p": "b", "s": "2"}]},
        ),
        (
            [("l[][p]", "a"), ("l[][p]", "b"), ("l[][s]", "1"), ("l[][s]", "2")],
            {"l": [{"p": "a", "s": "1"}, {"p": "b", "s": "2"}]},
        ),
    ],
)
def test_examples(fields: list[tuple[str, str]], tree: dict[str, Any]) -> None:
    assert nest(fields) == tree


@pytest.mark.parametrize(
    "names",
    [
        ["a", "a"],
        ["a", "a[b]"],
        ["a[b]", "a"],
        ["a[b]", "a[]"],
        ["a[]", "a[][b]"],
        ["a[b]", "a[b]"],
        ["a[b]", "a[b][c]"],
        ["[a]"],
        [""],
        ["a["],
        ["a]"],
        ["a[b"],
        ["a[b]c"],
        ["a[[b]]"],
        ["a[][]"],
        ["a[][b][]"],
        ["a" + "[b]" * MAX_DEPTH],
    ],
)
def test_names_that_make_no_sense(names: list[str]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        nest((name, "1") for name in names)
    assert refused.value.param == names[-1]


def test_the_deepest_and_the_most() -> None:
    assert nest([("a" + "[b]" * (MAX_DEPTH - 1), "1")])
    assert len(nest((f"a{number}", "1") for number in range(MAX_FIELDS))) == MAX_FIELDS
    with pytest.raises(InvalidRequest, match="more than"):
        nest((f"a{number}", "1") for number in range(MAX_FIELDS + 1))
