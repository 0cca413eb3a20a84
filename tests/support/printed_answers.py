"""Compare real answers with those that a document prints."""

import json
import re
from typing import Any, cast

_COMMENT = re.compile(r"(?<=[\s,])(?://|#) .*$", re.MULTILINE)


def parse_printed(text: str) -> Any:
    """Return the value of printed JSON, whose lines may end in a comment."""
    return json.loads(_COMMENT.sub("", text))


def mismatches(printed: object, actual: object, at: str = "$") -> list[str]:
    """Return where ``actual`` lacks a printed key or has a value of another type.

    A printed list shows its first item; a printed null stands for a value that is not there.
    """
    match printed:
        case dict():
            if not isinstance(actual, dict):
                return [f"{at}: {actual!r} is not an object"]
            found = cast("dict[str, object]", actual)
            return [
                problem
                for key, value in cast("dict[str, object]", printed).items()
                for problem in (
                    mismatches(value, found[key], f"{at}.{key}")
                    if key in found
                    else [f"{at}.{key} is missing"]
                )
            ]
        case list():
            if not isinstance(actual, list) or not actual:
                return [f"{at}: {actual!r} is not a list with items"]
            [shown] = cast("list[object]", printed)
            return [
                problem
                for number, item in enumerate(cast("list[object]", actual))
                for problem in mismatches(shown, item, f"{at}[{number}]")
            ]
        case int() | float() if not isinstance(printed, bool):
            fits = isinstance(actual, int | float) and not isinstance(actual, bool)
        case _:
            fits = type(actual) is type(printed)
    return [] if fits else [f"{at}: {actual!r} is not like {printed!r}"]
