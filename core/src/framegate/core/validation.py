"""What msgspec says of a value that doesn't fit its type, as data.

msgspec raises its errors as English sentences only, so this is the one place that reads them; every caller
words a `Violation` for its own readers. A sentence that is not known here, of a later msgspec say, becomes
one of kind `OTHER`, whose message is shown as it is; a test compares what the installed version can say with
what is known.
"""

import ast
import re
from enum import StrEnum
from types import EllipsisType
from typing import TypeAlias

from msgspec import Struct

Path: TypeAlias = tuple[str | int | EllipsisType, ...]
"""Fields and indexes that lead to a value; ``...`` stands for a key of a dict, which msgspec doesn't name."""

_STEP = re.compile(r"\.(?P<field>[^.\[]+)|\[(?:(?P<index>\d+)|\.\.\.)\]")
_EXPECTED = re.compile(r"Expected `(?P<expected>[^`]+)`(?:, got `(?P<got>[^`]+)`)?(?P<rest>.*)", re.DOTALL)
_BOUND = re.compile(r" (?P<sign>[<>]=?) (?P<limit>\S+)")
_LENGTH = re.compile(r" of length (?P<sign>[<>]=?) (?P<limit>\d+)")
_SIZE = re.compile(r" of (?:at least |at most )?length \d+(?: to \d+)?(?:, got \d+)?")
_MULTIPLE = re.compile(r" that's a multiple of (?P<limit>\S+)")
_REGEX = " matching regex "
_KEY = "key` in `"


class ViolationKind(StrEnum):
    """What is wrong with a value."""

    WRONG_TYPE = "wrong type"
    MISSING_FIELD = "missing field"
    UNKNOWN_FIELD = "unknown field"
    NOT_A_CHOICE = "not a choice"
    """Of an enum or a ``Literal``."""
    UNKNOWN_TAG = "unknown tag"
    """None of those that tell the Structs of a union apart."""
    OUT_OF_BOUNDS = "out of bounds"
    NOT_A_MULTIPLE = "not a multiple"
    WRONG_LENGTH = "wrong length"
    WRONG_SIZE = "wrong size"
    """Of a tuple, or of a Struct that is written as an array."""
    PATTERN_MISMATCH = "pattern mismatch"
    WRONG_TIMEZONE = "wrong timezone"
    MALFORMED = "malformed"
    """A text that can't be read as what it stands for: a date, a UUID, base64."""
    UNREPRESENTABLE = "unrepresentable"
    """A number, a time or a duration too large to be held."""
    OTHER = "other"
    """What a ``dec_hook`` or a ``__post_init__`` raised, or a sentence that is not known here."""


class Violation(Struct, frozen=True, kw_only=True):
    """One sentence of msgspec's, taken apart. What a kind doesn't have is empty."""

    kind: ViolationKind
    message: str
    """The sentence without its path."""
    path: Path = ()
    """From the value that was converted to the one that is wrong."""
    of_key: bool = False
    """Whether a key of the dict at ``path`` is wrong, not a value."""
    expected: str = ""
    """The type that was expected, in msgspec's words: ``int | null``."""
    got: str = ""
    """The type of the value, in msgspec's words."""
    field: str = ""
    """The name of the missing or unknown field."""
    sign: str = ""
    """How a value or length has to compare with ``limit``: one of ``>=``, ``>``, ``<=``, ``<``."""
    limit: str = ""
    """A bound, or what the value must be a multiple of, as it is written in JSON."""
    pattern: str = ""
    """The regular expression that a text has to match."""

    @property
    def location(self) -> str:
        """The path as people write it after the name of the whole: ``.servers[0].url``."""
        return "".join(
            f".{step}" if isinstance(step, str) else f"[{'...' if step is ... else step}]"
            for step in self.path
        )


def parse_violation(text: str) -> Violation:
    """Take the text of a ``msgspec.ValidationError`` apart, in time linear in its length.

    Texts may hold what a client sent (an unknown field's name, a value that is not allowed), of any length.
    """
    message, separator, where = text.rpartition(" - at `")
    of_key = where.startswith(_KEY)
    steps = where.removeprefix(_KEY)
    if not separator or not steps.startswith("$") or not steps.endswith("`"):
        return _parse(text, (), of_key=False)
    return _parse(message, _parse_path(steps[1:-1]), of_key=of_key)


def _parse_path(steps: str) -> Path:
    return tuple(
        match["field"] or (int(match["index"]) if match["index"] else ...) for match in _STEP.finditer(steps)
    )


def _parse(message: str, path: Path, *, of_key: bool) -> Violation:
    def violation(kind: ViolationKind, **parts: str) -> Violation:
        return Violation(kind=kind, message=message, path=path, of_key=of_key, **parts)

    if match := _EXPECTED.fullmatch(message):
        expected, got, rest = match["expected"], match["got"] or "", match["rest"]
        if got or not rest:
            return violation(ViolationKind.WRONG_TYPE, expected=expected, got=got)
        if length := _LENGTH.fullmatch(rest):
            return violation(ViolationKind.WRONG_LENGTH, expected=expected, **length.groupdict())
        if bound := _BOUND.fullmatch(rest):
            return violation(ViolationKind.OUT_OF_BOUNDS, expected=expected, **bound.groupdict())
        if multiple := _MULTIPLE.fullmatch(rest):
            return violation(ViolationKind.NOT_A_MULTIPLE, expected=expected, limit=multiple["limit"])
        if rest.startswith(_REGEX) and (pattern := _unquote(rest.removeprefix(_REGEX))):
            return violation(ViolationKind.PATTERN_MISMATCH, expected=expected, pattern=pattern)
        if _SIZE.fullmatch(rest):
            return violation(ViolationKind.WRONG_SIZE, expected=expected)
        if rest.endswith(" timezone component"):
            return violation(ViolationKind.WRONG_TIMEZONE, expected=expected)
        return violation(ViolationKind.OTHER)
    for start, kind in _NAMED_FIELD.items():
        if message.startswith(start) and message.endswith("`"):
            return violation(kind, field=message.removeprefix(start).removesuffix("`"))
    for start, kind in _STARTS.items():
        if message.startswith(start):
            return violation(kind)
    if message.rstrip().endswith(" out of range"):
        return violation(ViolationKind.UNREPRESENTABLE)
    return violation(ViolationKind.OTHER)


def _unquote(quoted: str) -> str:
    """Return the string whose ``repr`` is ``quoted``; empty if there is no such string."""
    try:
        return str(ast.literal_eval(quoted))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ""


_NAMED_FIELD = {
    "Object missing required field `": ViolationKind.MISSING_FIELD,
    "Object contains unknown field `": ViolationKind.UNKNOWN_FIELD,
}
_STARTS = {
    "Invalid enum value ": ViolationKind.NOT_A_CHOICE,
    "Invalid value ": ViolationKind.UNKNOWN_TAG,
    "Invalid RFC3339 encoded ": ViolationKind.MALFORMED,
    "Invalid ISO8601 duration": ViolationKind.MALFORMED,
    "Only units 'D', 'H', 'M', and 'S' are supported": ViolationKind.MALFORMED,
    "Invalid UUID": ViolationKind.MALFORMED,
    "Invalid decimal string": ViolationKind.MALFORMED,
    "Invalid base64 encoded string": ViolationKind.MALFORMED,
    "Invalid epoch timestamp": ViolationKind.MALFORMED,
    "Invalid MessagePack timestamp": ViolationKind.MALFORMED,
}
