"""Texts on which a regular expression would take longest: repeats of what it is made of."""

import itertools
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

constants: Any = import_module("re._constants")  # the only description of a parsed pattern
parser: Any = import_module("re._parser")
_CATEGORIES: dict[Any, str] = {
    constants.CATEGORY_DIGIT: "7",
    constants.CATEGORY_NOT_DIGIT: "x",
    constants.CATEGORY_SPACE: " ",
    constants.CATEGORY_NOT_SPACE: "x",
    constants.CATEGORY_WORD: "w",
    constants.CATEGORY_NOT_WORD: "-",
}
_MAX_LETTERS = 10
_MISMATCHES = ("", "\0")


def adversarial_texts(pattern: str | bytes, flags: int, length: int) -> Iterator[str | bytes]:
    """Yield texts of about ``length`` characters for a pattern; the order is the same for each length."""
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
    tree = parser.parse(text, flags)
    letters = list(dict.fromkeys(itertools.chain(_letters(tree), " a0\n")))[:_MAX_LETTERS]
    samples = list(dict.fromkeys(sample for count in (1, 3) for sample in _samples(tree, count)))
    almost = [sample[:-1] for sample in samples] + [sample[1:] for sample in samples]
    pairs = ["".join(pair) for pair in itertools.pairwise([*letters, letters[0]])]
    units = dict.fromkeys(unit for unit in (*letters, *pairs, *samples, *almost) if unit)
    heads = dict.fromkeys(head for head in ("", *(each[:-1] for each in samples[:2])))
    for unit in units:
        body = unit * (length // len(unit) + 1)
        for head, mismatch in itertools.product(heads, _MISMATCHES):
            whole = head + body + mismatch
            yield whole.encode("latin-1", "replace") if isinstance(pattern, bytes) else whole


def _letters(tree: Any) -> Iterator[str]:
    """Yield a character for each literal and each class of a parsed pattern."""
    for operation, argument in tree:
        match operation:
            case constants.LITERAL:
                yield chr(argument)
            case constants.IN:
                yield from _of_class(argument)
            case constants.NOT_LITERAL:
                yield _other_than({chr(argument)})
            case constants.BRANCH:
                for branch in argument[1]:
                    yield from _letters(branch)
            case _:
                for inner in _inner(argument):
                    yield from _letters(inner)


def _inner(argument: Any) -> list[Any]:
    if isinstance(argument, parser.SubPattern):
        return [argument]
    parts: Any = argument if type(argument) in (tuple, list) else ()
    return [inner for part in parts for inner in _inner(part)]


def _of_class(items: Any) -> list[str]:
    members: list[str] = []
    negated = False
    for operation, argument in items:
        match operation:
            case constants.NEGATE:
                negated = True
            case constants.LITERAL:
                members.append(chr(argument))
            case constants.RANGE:
                members.append(chr(argument[0]))
            case _:
                members.append(_CATEGORIES.get(argument, "x"))
    # Of a class that leaves some out, one that it holds, and one that it leaves out.
    return [_other_than(set(members)), *members[:1]] if negated else members[:4]


def _other_than(left_out: set[str]) -> str:
    return next(letter for letter in "xy0 -\u00e9" if letter not in left_out)


def _samples(tree: Any, count: int) -> list[str]:
    """Return texts that match, or nearly; what may be repeated is repeated ``count`` times."""
    found = [""]
    for operation, argument in tree:
        found = [sample + part for sample in found[:3] for part in _parts(operation, argument, count)[:3]]
    return found[:4]


def _parts(operation: Any, argument: Any, count: int) -> list[str]:
    match operation:
        case constants.LITERAL:
            return [chr(argument)]
        case constants.NOT_LITERAL:
            return [_other_than({chr(argument)})]
        case constants.ANY:
            return ["x"]
        case constants.IN:
            return _of_class(argument)[:1]
        case constants.BRANCH:
            return [sample for branch in argument[1] for sample in _samples(branch, count)[:1]]
        case constants.MAX_REPEAT | constants.MIN_REPEAT | constants.POSSESSIVE_REPEAT:
            least, most, inner = argument
            return [sample * min(max(least, count), int(most)) for sample in _samples(inner, count)]
        case constants.SUBPATTERN:
            return _samples(argument[-1], count)
        case constants.ATOMIC_GROUP:
            return _samples(argument, count)
        case _:
            return [""]


def used_as(compiled: re.Pattern[Any], method: str, text: str | bytes) -> None:
    """Let a compiled pattern read a text as the source does."""
    match method:
        case "sub" | "subn":
            compiled.sub(b"" if isinstance(text, bytes) else "", text)
        case "finditer":
            for _ in compiled.finditer(text):
                pass
        case _:
            getattr(compiled, method)(text)
