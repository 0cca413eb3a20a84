"""The contract between the HTTP app and a dialect.

A plugin names its dialect with a `framegate.core.dialect.DialectSpec` whose ``factory`` is the import string
of a function ``create(context: DialectContext) -> Dialect``. It is called once, at start. The dialect returns
Litestar controllers, routers or plain handlers; the app mounts them below the dialect's prefix, checks API
keys before bodies are read, and renders every error below the dialect's paths with its ``error_response``.

Handlers can request two dependencies by name: ``services``, the `CoreServices`, and ``client_jobs``, the
`framegate.server.requests.jobs.ClientJobs` of the request. A dialect's own ``dependencies`` come on top.

Handlers of several dialects may share a path as long as their methods differ. Where they share path and
method too, each contributes its part as a `SharedRoute`, and one set of handlers is composed of the parts.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from litestar import Response
from litestar.di import Provide
from litestar.types import ControllerRouterHandler
from msgspec import Struct, field

from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.keys import KeyScope
from framegate.core.options import Options, parse_table
from framegate.core.wiring import CoreServices
from framegate.media.network.addresses import DialPolicy
from framegate.server.auth.keys import SCOPE_OPT
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import JSON, HTTPRequest
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.unknown_fields import UnknownFields
from framegate.server.responses.link_signing import LinkSigner

PUBLIC: Mapping[str, Any] = {"public": True}
"""The ``opt`` of a handler that answers without an API key (a page, its assets)."""

READS: Mapping[str, Any] = {SCOPE_OPT: KeyScope.READ}
"""The ``opt`` of a handler that changes nothing although its method isn't GET or HEAD."""


def provide_instance(instance: object) -> Provide:
    """Return a dependency that is the same object for every request."""
    return Provide(lambda: instance, sync_to_thread=False)


class EnabledDialect(Struct, frozen=True):
    """One of the dialects that this server has, and the path below which it is mounted."""

    name: str
    summary: str
    prefix: str


class DialectContext(Struct, frozen=True, kw_only=True):
    """The arguments of a dialect's factory.

    ``prefix`` is the path below which the dialect is mounted ("" or "/v4/app"); handlers are written without
    it. ``options`` is the config's table ``[dialects.NAME]`` without the keys that the app itself handles
    (``prefix``, ``auth``, ``unknown_fields``). ``public_url`` is what links begin with, empty for the
    request's own host. ``max_input`` is the largest input file in bytes, ``retention`` the seconds for which
    results are kept. ``dial_policy`` says which of the addresses that clients name may be
    dialled, ``user_agent`` what is sent to them as User-Agent. ``links`` signs links to results. ``enabled``
    are all dialects of this server, this one included, and ``has_docs`` tells whether it has API docs.
    """

    name: str
    services: CoreServices
    prefix: str = ""
    options: Mapping[str, Any] = {}
    public_url: str = ""
    data_path: Path
    max_input: int
    retention: float = 3600.0
    dial_policy: DialPolicy = field(default_factory=DialPolicy)
    user_agent: str = ""
    links: LinkSigner = field(default_factory=LinkSigner)
    enabled: Sequence[EnabledDialect] = ()
    has_docs: bool = True

    def parse_options(self, model: type[Options]) -> Options:
        """Return the options as ``model``, which should be declared with ``forbid_unknown_fields``.

        Raises:
            ConfigError: An option is unknown or has a wrong value; the message names ``dialects.NAME.KEY``.
        """
        return parse_table(("dialects", self.name), self.options, model)

    def check_models(self, *options: str) -> None:
        """Check the models that the config names in these options, each one name or a list of names.

        Raises:
            ConfigError: There is no model of a name; `ConfigErrors` if there are several such names.
        """
        found = ErrorCollector()
        known = self.services.jobs.registry.names
        for option in options:
            value, key = self.options.get(option, ()), ("dialects", self.name, option)
            named = (
                [(value, key)] if isinstance(value, str) else [(v, (*key, i)) for i, v in enumerate(value)]
            )
            for name, place in named:
                if name not in known:
                    found.add(f"unknown model {name!r}{suggest(name, known)}", *place)
        found.raise_errors()

    def client_jobs(self, request: HTTPRequest) -> ClientJobs:
        """Return the jobs of the client behind ``request``, within this dialect."""
        return ClientJobs(request, self.services.jobs, self.name)


class SharedRoute(Struct, frozen=True):
    """A dialect's part in routes that several dialects answer together.

    ``compose`` is called once, with the ``part`` of every dialect that is mounted at the same prefix and
    names the same function. A key that may call one of the dialects may call the route: the handlers leave it
    to the parts of those that `Client.may_call` names.
    """

    compose: Callable[[Sequence[Any]], Sequence[ControllerRouterHandler]]
    part: Any


class Dialect(Struct, frozen=True, kw_only=True):
    """A dialect as its factory returns it.

    ``handlers`` are mounted below the dialect's prefix, ``root_handlers`` at the root, whatever the prefix;
    both can use ``dependencies``. ``path_prefixes`` are the paths (without the prefix) below which unknown
    paths and methods are answered with this dialect's error body. ``error_body`` is the type of that body,
    for the API docs, and ``error_media_type`` its content type. ``unknown_fields`` tells whether fields that
    no body of this dialect has are refused or ignored, unless the config says otherwise; types of bodies are
    declared with ``forbid_unknown_fields``.
    """

    handlers: Sequence[ControllerRouterHandler]
    root_handlers: Sequence[ControllerRouterHandler] = ()
    dependencies: Mapping[str, Provide] = {}
    error_response: Callable[[HTTPRequest, ErrorInfo], Response[Any]]
    path_prefixes: tuple[str, ...]
    shared_routes: Sequence[SharedRoute] = ()
    error_body: type[Struct] | None = None
    error_media_type: str = JSON
    unknown_fields: UnknownFields = "refuse"
