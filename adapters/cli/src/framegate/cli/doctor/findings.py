"""The lines of the report."""

from collections.abc import Callable

from msgspec import Struct

from framegate.core.errors import FramegateError


class Finding(Struct, frozen=True, omit_defaults=True):
    """One line of the report. A ``warning`` is worth knowing, and fails nothing."""

    subject: str
    ok: bool
    detail: str
    warning: bool = False


def warn(subject: str, detail: str) -> Finding:
    """Return a line about what may become a problem."""
    return Finding(subject, ok=True, detail=detail, warning=True)


def check(subject: str, look: Callable[[], str]) -> Finding:
    """Return what ``look`` says, or the error that it raises."""
    try:
        return Finding(subject, ok=True, detail=look())
    except FramegateError as error:
        return Finding(subject, ok=False, detail=error.message)
    except Exception as error:
        return Finding(subject, ok=False, detail=f"{type(error).__name__}: {error}")
