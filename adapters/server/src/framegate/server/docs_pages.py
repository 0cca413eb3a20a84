"""The page ``/docs`` with its assets, and ``/openapi.json``, without any link to other hosts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from litestar import Controller, Litestar, Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from framegate.server.auth.key_ring import KeyRing
from framegate.server.mounting import MountedDialect
from framegate.server.openapi import openapi_document
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.forwarded import forwarded_of
from framegate.server.requests.paths import has_trailing_slash
from framegate.server.responses.static_files import Asset, load_assets, send_asset

_STATIC = Path(__file__).parent / "static"
# Swagger UI sets style attributes and draws its icons from data: URLs.
_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


class ApiDocs:
    """The assets of the page, and the OpenAPI document, which is made when it is first requested."""

    def __init__(self, mounted: Sequence[MountedDialect], keys: KeyRing) -> None:
        self.assets: Mapping[str, Asset] = {**load_assets(_STATIC), **load_assets(_STATIC / "swagger-ui")}
        self._mounted = {entry.spec.name: entry for entry in mounted}
        self._keys = keys
        self._documents: dict[bool, dict[str, Any]] = {}

    def document(self, app: Litestar, prefix: str) -> bytes:
        """Return the OpenAPI document of ``app`` as JSON; a proxy mounts it at ``prefix``."""
        keyed = self._keys.keyed
        if keyed not in self._documents:
            self._documents[keyed] = openapi_document(app, self._mounted, has_keys=keyed)
        mounted = {"servers": [{"url": prefix}]} if prefix else {}
        return msgspec.json.encode({**self._documents[keyed], **mounted})


class DocsController(Controller):
    """The API docs."""

    include_in_schema = False

    @get("/docs")
    async def docs(
        self, request: HTTPRequest, api_docs: NamedDependency[ApiDocs]
    ) -> Response[bytes] | Redirect:
        """Send the page."""
        if has_trailing_slash(request.scope):
            # The page's links are relative, so that it works below a proxy's prefix.
            return Redirect("../docs")
        return send_asset(request, api_docs.assets, "docs.html", policy=_POLICY)

    @get("/docs/{name:str}")
    async def docs_asset(
        self, request: HTTPRequest, api_docs: NamedDependency[ApiDocs], name: FromPath[str]
    ) -> Response[bytes]:
        """Send one of the page's scripts or styles."""
        return send_asset(request, api_docs.assets, name, policy=_POLICY)

    @get("/openapi.json")
    async def openapi(self, request: HTTPRequest, api_docs: NamedDependency[ApiDocs]) -> Response[bytes]:
        """Send the OpenAPI document."""
        return Response(
            api_docs.document(request.app, forwarded_of(request.scope).prefix), media_type="application/json"
        )
