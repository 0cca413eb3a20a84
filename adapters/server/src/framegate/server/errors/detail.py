"""The items of FastAPI's error bodies, ``{"detail": [...]}``."""

from typing import Any, Self

from msgspec import Struct

from framegate.server.errors.field_errors import FieldError


class DetailItem(Struct):
    """One wrong field; ``loc`` begins with ``body`` or ``query``."""

    type: str
    loc: list[str | int]
    msg: str
    input: Any = None

    @classmethod
    def of(cls, error: FieldError) -> Self:
        """Return the item for an error."""
        return cls(error.kind, [error.source, *error.location], error.message, error.input)
