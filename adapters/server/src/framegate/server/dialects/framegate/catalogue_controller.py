"""What requests can name, and who the caller is: models, styles, characters, dialects, the key."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, Struct, UnsetType

from framegate.core.fitting import defaults_of
from framegate.core.keys import KeyScope
from framegate.core.models import Defaults, FrameRule, Range, SizeRule
from framegate.core.registry import ServedModel
from framegate.core.types import Task
from framegate.core.wiring import CoreServices
from framegate.server.auth.keys import client_of, is_operator
from framegate.server.dialect import DialectContext
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.public_links import server_url


class ModelObject(Struct, frozen=True, kw_only=True):
    """A name that requests may use, and what a form for it has to know.

    ``options`` are the optional request fields that it honours; ``ready`` tells whether a live worker serves
    it; ``aliases`` are the other names of the model that really runs; ``catalogue`` is the dialect whose
    clients know the name, empty for a name of the config; ``license`` is that of the weights, if it is known.
    """

    name: str
    served_by: str
    summary: str
    backend: str
    tasks: list[Task]
    sizes: SizeRule
    frames: FrameRule
    fps: Range
    steps: Range
    guidance: Range
    max_duration: float
    max_outputs: int
    defaults: Defaults
    options: list[str]
    plan: str
    catalogue: str
    ready: bool
    aliases: list[str]
    license: str | UnsetType = UNSET


class StyleObject(Struct, frozen=True):
    """A style: ``prompt`` is what it adds to a prompt."""

    name: str
    label: str
    prompt: str


class CharacterObject(Struct, frozen=True):
    """A character of the caller, which prompts mention as ``@name``."""

    name: str
    display_name: str
    created_at: datetime


class DialectObject(Struct, frozen=True):
    """An API of this server; ``docs`` is a page about it, null if the server shows none."""

    name: str
    summary: str
    prefix: str
    docs: str | None


class KeyLimits(Struct, frozen=True):
    """The limits of a key; 0 for none. ``timeout`` is how many seconds one of its jobs may run."""

    max_running: int
    max_queued: int
    max_active: int
    requests_per_minute: int
    request_burst: int
    max_bytes_in_flight: int
    max_stored_bytes: int
    max_record_bytes: int
    max_characters: int
    daily_gpu_seconds: int
    timeout: float


class Usage(Struct, frozen=True):
    """What a key has used today, by UTC."""

    jobs: int
    gpu_seconds: float
    bytes: int


class KeyObject(Struct, frozen=True, kw_only=True):
    """The caller's key. ``name`` is empty where no key is needed; empty ``models`` and ``dialects``: all."""

    name: str
    plan: str
    scopes: list[KeyScope]
    models: list[str]
    dialects: list[str]
    expires_at: datetime | None
    priority: int
    limits: KeyLimits
    usage: Usage


class CatalogueController(Controller):
    """Models, styles, LoRAs, dialects, and the caller's key."""

    @get("/models", summary="The models that the caller may name, with what each can make")
    async def list_models(
        self, request: HTTPRequest, services: NamedDependency[CoreServices]
    ) -> list[ModelObject]:
        """Return all names, each within the limits that it promises."""
        client = client_of(request.scope)
        ready = {model for worker in await services.jobs.workers() for model in worker.models}
        names = services.jobs.registry.names
        return [
            _model_object(served, names.values(), ready=served.spec.id in ready)
            for served in names.values()
            if client.may_name(served.name)
        ]

    @get("/styles", summary="The styles that jobs may name")
    async def list_styles(self, services: NamedDependency[CoreServices]) -> list[StyleObject]:
        """Return all styles."""
        return [StyleObject(each.name, each.label, each.prompt) for each in services.jobs.styles.values()]

    @get("/loras", summary="The LoRAs that jobs may name: none, as no model takes any yet")
    async def list_loras(self) -> list[Any]:
        """Return an empty list."""
        return []

    @get("/dialects", summary="The APIs of this server")
    async def list_dialects(
        self, request: HTTPRequest, context: NamedDependency[DialectContext]
    ) -> list[DialectObject]:
        """Return the enabled dialects."""
        start = server_url(request, context.public_url)
        return [
            DialectObject(
                each.name,
                each.summary,
                each.prefix,
                f"{start}/docs#/{each.name}" if context.has_docs else None,
            )
            for each in context.enabled
        ]

    @get("/me", summary="The caller's key, its limits, and what it has used today")
    async def show_key(self, request: HTTPRequest, services: NamedDependency[CoreServices]) -> KeyObject:
        """Return the caller's key."""
        client = client_of(request.scope)
        scopes = dict.fromkeys((*client.scopes, *((KeyScope.ADMIN,) if is_operator(request.scope) else ())))
        limits = {name: getattr(client, name) or 0 for name in KeyLimits.__struct_fields__}
        used = await services.usage.today(client.name)
        return KeyObject(
            name=client.name,
            plan=client.plan,
            scopes=list(scopes),
            models=list(client.models),
            dialects=list(client.dialects),
            expires_at=client.expires_at,
            priority=client.priority,
            limits=KeyLimits(**limits),
            usage=Usage(used.jobs, used.gpu_seconds, used.bytes),
        )


class CharacterController(Controller):
    """Characters."""

    path = "/characters"

    @get("/", summary="The caller's characters, newest first")
    async def list_characters(
        self, request: HTTPRequest, services: NamedDependency[CoreServices]
    ) -> list[CharacterObject]:
        """Return the characters that the caller's prompts can mention."""
        return [
            CharacterObject(each.username, each.display_name, datetime.fromtimestamp(each.created_at, UTC))
            for each in await services.characters.list(client_of(request.scope).name)
            if not each.temporary
        ]

    @delete("/{name:str}", summary="Remove a character; jobs that use it have their own copies")
    async def delete_character(
        self, request: HTTPRequest, services: NamedDependency[CoreServices], name: FromPath[str]
    ) -> None:
        """Remove a character of the caller, and its images."""
        await services.characters.delete(name.removeprefix("@"), client_of(request.scope).name)


def _model_object(served: ServedModel, names: Collection[ServedModel], *, ready: bool) -> ModelObject:
    spec = served.spec
    aliases: Sequence[str] = ()
    if served.name == spec.id:
        aliases = [each.name for each in names if each.spec.id == spec.id and each.name != spec.id]
    return ModelObject(
        name=served.name,
        served_by=spec.id,
        summary=spec.summary,
        backend=spec.backend,
        tasks=sorted(task for task in spec.tasks if served.kind in (None, task.output)),
        sizes=spec.sizes,
        frames=spec.frames,
        fps=spec.fps,
        steps=spec.steps,
        guidance=spec.guidance,
        max_duration=spec.max_duration,
        max_outputs=spec.max_outputs,
        defaults=defaults_of(spec),
        options=sorted(spec.parameters),
        plan=served.plan,
        catalogue=served.catalogue,
        ready=ready,
        aliases=list(aliases),
        license=spec.license or UNSET,
    )
