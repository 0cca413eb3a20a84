"""How a dialect introduces itself."""

from msgspec import Struct


class DialectSpec(Struct, frozen=True):
    """Data only, so that listing dialects imports none of them.

    ``factory`` is the import string ``module:function`` of what makes its routes; an HTTP adapter says
    with which arguments it is called (see `framegate.server.dialect`).
    """

    name: str
    summary: str
    factory: str
