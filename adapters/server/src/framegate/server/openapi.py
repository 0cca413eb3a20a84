"""The OpenAPI document: Litestar's own, completed with what handlers declare in their ``opt``."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Tag
from litestar.routes import HTTPRoute

from framegate.server.auth.keys import ADMIN_OPT, DIALECT_OPT, KEY_OPT
from framegate.server.errors.problem import PROBLEM_JSON, Problem
from framegate.server.mounting import MountedDialect
from framegate.server.requests.bodies import JSON, RequestBody, documented
from framegate.server.requests.unknown_fields import UNKNOWN_FIELDS_OPT
from framegate.server.responses.files import FILES_OPT
from framegate.server.responses.sse import STREAM_OPT

_REF = "#/components/schemas/{name}"
_SCHEME = "bearer"


def openapi_config(mounted: Sequence[MountedDialect], *, needs_key: bool) -> OpenAPIConfig:
    """Return the document's head: title, version and one tag for each dialect.

    ``needs_key`` tells whether the document itself is only for clients with a key.
    """
    try:
        own_version = version("framegate-server")
    except PackageNotFoundError:
        own_version = "0"
    return OpenAPIConfig(
        title="Framegate",
        version=own_version,
        summary="One server for image and video generation; every section is one API dialect",
        tags=[
            *(Tag(name=entry.spec.name, description=entry.spec.summary) for entry in mounted),
            Tag(name="server", description="The server itself"),
            Tag(name="admin", description="The server's administration, for keys with the scope admin"),
        ],
        # Litestar's own pages load their scripts from other hosts; only its JSON document is served.
        openapi_router=Router(
            "/docs/schema", route_handlers=[], include_in_schema=False, opt={KEY_OPT: needs_key}
        ),
        render_plugins=[JsonRenderPlugin()],
    )


def openapi_document(app: Litestar, mounted: dict[str, MountedDialect], *, has_keys: bool) -> dict[str, Any]:
    """Return Litestar's document, completed with request bodies and the dialects' error bodies.

    Litestar knows neither: see `framegate.server.requests.bodies.documents` and `Dialect.error_body`.
    """
    document = app.openapi_schema.to_schema()
    if has_keys:
        document.setdefault("components", {})["securitySchemes"] = {
            _SCHEME: {"type": "http", "scheme": _SCHEME, "description": "An API key of this server"}
        }
    schemas = _Schemas(document.setdefault("components", {}).setdefault("schemas", {}))
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            for method in handler.http_methods:
                operation = document["paths"].get(route.path_format, {}).get(method.lower())
                if operation is not None:
                    _complete(operation, handler, mounted, schemas, has_keys=has_keys)
    for operations in document["paths"].values():
        if "get" in operations:
            # It differs from GET only in having no body.
            operations.pop("head", None)
    return document


class _Schemas:
    """The document's schemas by name, to which those of types are added."""

    def __init__(self, named: dict[str, dict[str, Any]]) -> None:
        self.named = named
        self._added: dict[str, dict[str, Any]] = {}

    def add(self, model: type[msgspec.Struct]) -> dict[str, Any]:
        """Return a reference to the schema of a type, which is added with all that it consists of.

        Types of several dialects may have the same name; each later one is prefixed with its module, as
        Litestar does.
        """
        (reference,), added = msgspec.json.schema_components([model], ref_template=_REF)
        if any(self._added.get(name, schema) != schema for name, schema in added.items()):
            prefix = "_".join(model.__module__.split(".")[-2:])
            template = _REF.format(name=f"{prefix}_{{name}}")
            (reference,), components = msgspec.json.schema_components([model], ref_template=template)
            added = {f"{prefix}_{name}": schema for name, schema in components.items()}
        self._added |= added
        for name, schema in added.items():
            self.named.setdefault(name, {**schema})
        return reference


def _complete(
    operation: dict[str, Any],
    handler: HTTPRouteHandler,
    mounted: dict[str, MountedDialect],
    schemas: _Schemas,
    *,
    has_keys: bool,
) -> None:
    # Litestar documents its own body for bad parameters, but the dialect's is sent.
    operation["responses"].pop("400", None)
    if types := handler.opt.get(FILES_OPT):
        binary = {"schema": {"type": "string", "format": "binary"}}
        operation["responses"]["200"]["content"] = dict.fromkeys(types, binary)
    if handler.opt.get(STREAM_OPT):
        operation["responses"]["200"].setdefault("content", {})["text/event-stream"] = {
            "schema": {"type": "string"}
        }
    if body := documented(handler.opt):
        operation["requestBody"] = _request_body(body, schemas)
        if handler.opt.get(UNKNOWN_FIELDS_OPT) == "ignore":
            _allow_unknown_fields(operation["requestBody"], schemas)
    entry = mounted.get(handler.opt.get(DIALECT_OPT, ""))
    is_admin = bool(handler.opt.get(ADMIN_OPT))
    if is_admin and entry is None:
        _add_error(operation, schemas.add(Problem), PROBLEM_JSON)
    if entry is not None and entry.dialect.error_body is not None:
        _add_error(operation, schemas.add(entry.dialect.error_body), entry.dialect.error_media_type)
    needs_key = is_admin or (entry is not None and entry.auth and not handler.opt.get("public"))
    if has_keys and needs_key:
        operation["security"] = [{_SCHEME: []}]


def _add_error(operation: dict[str, Any], reference: dict[str, Any], media_type: str) -> None:
    operation["responses"]["default"] = {
        "description": "Any error",
        "content": {media_type: {"schema": reference}},
    }


def _request_body(body: RequestBody, schemas: _Schemas) -> dict[str, Any]:
    schema = plain = schemas.add(body.model)
    if body.files:
        name = schema["$ref"].rsplit("/", 1)[-1]
        whole = {**schemas.named[name], "properties": {**schemas.named[name]["properties"]}}
        for field in body.files:
            whole["properties"][field] = {"type": "string", "format": "binary"}
        needed = [*whole.get("required", ()), *(field for field, needed in body.files.items() if needed)]
        whole["required"] = sorted(set(needed))
        form_name = f"{name}Form" if body.or_json else name
        schemas.named[form_name] = whole
        schema = {"$ref": _REF.format(name=form_name)}
    content: dict[str, Any] = {"schema": schema}
    if body.examples:
        content["examples"] = {
            title.lower().replace(" ", "-"): {"summary": title, "value": value}
            for title, value in body.examples.items()
        }
    forms = {body.content_type: content}
    return {
        "required": True,
        "content": {JSON: {**content, "schema": plain}, **forms} if body.or_json else forms,
    }


def _allow_unknown_fields(body: dict[str, Any], schemas: _Schemas) -> None:
    for content in body["content"].values():
        schemas.named[content["schema"]["$ref"].rsplit("/", 1)[-1]].pop("additionalProperties", None)
