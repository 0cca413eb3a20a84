"""What differs between two answers, or between two OpenAPI documents."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeGuard

from tests.compatibility.wire.answers import Answer

Kind: TypeAlias = Literal["status", "headers", "keys", "types", "values", "document", "texts"]

# Keys of texts for people.
_TEXTS = {"detail", "error", "error_message", "message", "msg", "reason", "reasoning_content"}
_DOCUMENT_TEXTS = {"description", "summary", "title"}
_MISSING = "(missing)"


@dataclass(frozen=True)
class Difference:
    """One difference: what kind it is of, where it is, and both values."""

    kind: Kind
    place: str
    old: Any
    new: Any


def compare_answers(old: Answer, new: Answer) -> Iterator[Difference]:
    """Yield the differences of two answers."""
    if old.status != new.status:
        yield Difference("status", "", old.status, new.status)
    for place, before, after in _walk(dict(old.headers), dict(new.headers)):
        yield Difference("headers", place, before, after)
    for place, before, after in _walk(old.body, new.body):
        yield Difference(_kind(place, before, after), place, before, after)


def compare_documents(old: Any, new: Any) -> Iterator[Difference]:
    """Yield the differences of two OpenAPI documents; the names of schema components don't count."""
    schemes = [document.get("components", {}).get("securitySchemes") for document in (old, new)]
    pairs = ((_inlined(old, old), _inlined(new, new)), ({"schemes": schemes[0]}, {"schemes": schemes[1]}))
    for before, after in pairs:
        for place, first, second in _walk(before, after):
            parent, name = ["", *place.split("/")][-2:]
            text = name in _DOCUMENT_TEXTS and parent != "properties"
            if place != "/info/version":
                yield Difference("texts" if text else "document", place, first, second)


def _kind(place: str, old: Any, new: Any) -> Kind:
    if _MISSING in (old, new):
        return "keys"
    if type(old) is not type(new):
        return "types"
    name = next((part for part in reversed(place.split("/")) if not part.isdecimal()), "")
    return "texts" if isinstance(old, str) and name in _TEXTS else "values"


def _walk(old: Any, new: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    if _is_object(old) and _is_object(new):
        for name in {**old, **new}:
            yield from _walk(old.get(name, _MISSING), new.get(name, _MISSING), f"{place}/{name}")
    elif _is_array(old) and _is_array(new) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _walk(*pair, f"{place}/{index}")
    elif old != new or type(old) is not type(new):
        yield place, old, new


def _inlined(value: Any, document: Any, inside: tuple[str, ...] = ()) -> Any:
    """Return an OpenAPI document without its components: each reference is replaced by what it names."""
    if _is_array(value):
        return [_inlined(item, document, inside) for item in value]
    if not _is_object(value):
        return value
    reference = value.get("$ref")
    if isinstance(reference, str):
        if reference in inside:
            return f"(recursive, {len(inside) - inside.index(reference)} levels up)"
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
        return _inlined(target, document, (*inside, reference))
    return {name: _inlined(item, document, inside) for name, item in value.items() if name != "components"}


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
