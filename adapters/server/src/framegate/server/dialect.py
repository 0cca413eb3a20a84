"""The contract between the HTTP app and a dialect.

A plugin names its dialect with a `framegate.core.dialect.DialectSpec` whose ``factory`` is the import string
of a function ``create(context: DialectContext) -> Dialect``. It is called once at start. The dialect answers
with plain Litestar route handlers; the app puts them under the dialect's prefix, checks keys before their
bodies are read, and renders every error below the dialect's paths with its ``error_response``.

Handlers of several dialects may share a path as long as their methods differ. Where they share path and
method too, each gives its part as a `SharedRoute`, and one handler is composed of the parts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from framegate.core.options import Options, parse_table
from framegate.core.wiring import CoreServices
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest

PUBLIC: Mapping[str, Any] = {"public": True}
"""The ``opt`` of a handler that answers without a key (a page, its assets)."""

AT_ROOT: Mapping[str, Any] = {"at_root": True}
"""The ``opt`` of a handler whose path is the same wherever the dialect is mounted."""


class DialectContext(Struct, frozen=True, kw_only=True):
    """What a dialect's factory is handed.

    ``prefix`` is where it is mounted ("" or "/v4/app"); handlers are written without it. ``options`` is the
    config's table ``[dialects.NAME]`` but for the keys that the app itself knows (``prefix``, ``auth``).
    ``public_url`` is what links begin with, empty for the request's own host. ``max_input`` is the largest
    input file in bytes, ``retention`` how many seconds a result is kept.
    """

    name: str
    services: CoreServices
    prefix: str = ""
    options: Mapping[str, Any] = {}
    public_url: str = ""
    data_path: Path
    max_input: int
    retention: float = 3600.0

    def parse_options(self, model: type[Options]) -> Options:
        """The options as ``model``, which should be declared with ``forbid_unknown_fields``.

        Raises:
            ConfigError: naming ``dialects.NAME.KEY``.
        """
        return parse_table(f"dialects.{self.name}", self.options, model)


class SharedRoute(Struct, frozen=True):
    """Routes that several dialects answer together. ``compose`` is called once with the ``part`` of every
    dialect that is mounted at the same prefix and names this same function."""

    compose: Callable[[Sequence[Any]], Sequence[HTTPRouteHandler]]
    part: Any


class Dialect(Struct, frozen=True, kw_only=True):
    """What a factory gives.

    ``path_prefixes`` are the paths (without the mount prefix) below which unknown paths and methods answer in
    this dialect's body. ``error_body`` is the type of that body, for the API docs.
    """

    handlers: Sequence[HTTPRouteHandler]
    error_response: Callable[[HTTPRequest, ErrorInfo], Response[Any]]
    path_prefixes: tuple[str, ...]
    shared_routes: Sequence[SharedRoute] = ()
    error_body: type[Struct] | None = None
