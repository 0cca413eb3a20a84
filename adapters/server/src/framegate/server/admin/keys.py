"""API keys: create, list, rotate, expire and revoke them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import Meta, Struct

from framegate.core.key_service import MAX_GRACE, IssuedKey, KeyInfo
from framegate.core.keys import KeyGrants, KeyName, Moment
from framegate.core.wiring import CoreServices
from framegate.server.requests.bodies import HTTPRequest, documents, read_json

_NO_STORE = {"Cache-Control": "no-store"}
_NEW_KEY: Mapping[str, Any] = {
    "For one model": {"name": "alice", "models": ["sora-2"], "max_queued": 10},
    "For reading": {"name": "dashboard", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"},
}


class NewKey(KeyGrants, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body that creates a key."""

    name: KeyName


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that rotates a key; ``grace`` is for how many seconds its older secrets still work."""

    grace: Annotated[float, Meta(ge=0, le=MAX_GRACE)] = 0.0


class Expiry(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that lets a key expire; null lets it never expire."""

    expires_at: Moment | None


class Keys(Struct, frozen=True):
    """All keys."""

    items: Sequence[KeyInfo]


class KeyController(Controller):
    """API keys. Secrets are shown once, when they are made."""

    path = "/keys"

    @get("/", summary="All keys, those of the config included")
    async def list_keys(self, services: NamedDependency[CoreServices]) -> Keys:
        """Return all keys."""
        return Keys(await services.keys.list())

    @post("/", status_code=201, summary="Create a key", opt=documents(NewKey, _NEW_KEY))
    async def create_key(
        self, request: HTTPRequest, services: NamedDependency[CoreServices]
    ) -> Response[IssuedKey]:
        """Create a key and return it with its secret."""
        body = await read_json(request, NewKey)
        return Response(await services.keys.create(body.name, body), status_code=201, headers=_NO_STORE)

    @get("/{name:str}", summary="One key")
    async def get_key(self, services: NamedDependency[CoreServices], name: FromPath[str]) -> KeyInfo:
        """Return one key."""
        return await services.keys.get(name)

    @post(
        "/{name:str}/rotate",
        status_code=200,
        summary="Give a key a new secret",
        opt=documents(Rotation, {"With a day to switch": {"grace": 86400}}),
    )
    async def rotate_key(
        self, request: HTTPRequest, services: NamedDependency[CoreServices], name: FromPath[str]
    ) -> Response[IssuedKey]:
        """Return the key with its new secret."""
        body = await read_json(request, Rotation)
        return Response(
            await services.keys.rotate(name, grace=body.grace), status_code=200, headers=_NO_STORE
        )

    @post(
        "/{name:str}/expire",
        status_code=200,
        summary="Set from when on a key is refused",
        opt=documents(Expiry, {"At a time": {"expires_at": "2030-01-01T00:00:00Z"}}),
    )
    async def expire_key(
        self, request: HTTPRequest, services: NamedDependency[CoreServices], name: FromPath[str]
    ) -> KeyInfo:
        """Return the key with its new expiry."""
        body = await read_json(request, Expiry)
        return await services.keys.expire(name, body.expires_at)

    @delete("/{name:str}", summary="Revoke a key")
    async def revoke_key(self, services: NamedDependency[CoreServices], name: FromPath[str]) -> None:
        """Remove the key."""
        await services.keys.revoke(name)
