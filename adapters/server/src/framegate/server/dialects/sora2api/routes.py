"""sora2api: the routes, composed."""

from typing import Any

from litestar import Response
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.registry import ServedModel
from framegate.server.dialect import Dialect, DialectContext, SharedRoute
from framegate.server.dialects.openai.chat.job_events import OnDisconnect
from framegate.server.dialects.openai.chat.routes import ChatHandler, chat_routes
from framegate.server.dialects.openai.chat.schemas import ChatRequest, ErrorBody
from framegate.server.dialects.openai.errors import error_response
from framegate.server.dialects.sora2api.feature_routes import feature_routes
from framegate.server.dialects.sora2api.requests import parsed_chat_request
from framegate.server.dialects.sora2api.studio import Studio
from framegate.server.dialects.sora2api.task_routes import task_routes
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import ResultFiles

_CATALOGUE = "sora2api"


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.sora2api]``. ``models`` are names beside the catalogue's that chat answers in this
    dialect's style; ``on_disconnect`` "keep" lets a job run to its end without its client."""

    models: tuple[str, ...] = ()
    on_disconnect: OnDisconnect = "cancel"


def create(context: DialectContext) -> Dialect:
    """Raises:
    ConfigError: ``models`` names one that there is not.
    """
    options = context.parse_options(Options)
    if unknown := [name for name in options.models if name not in context.services.jobs.registry.names]:
        raise ConfigError(f"dialects.{context.name}.models: there is no model {unknown[0]!r}.")

    def claims(served: ServedModel) -> bool:
        return served.catalogue == _CATALOGUE or served.name in options.models

    files = ResultFiles(context)
    studio = Studio(
        context.services,
        dialect=context.name,
        files=files,
        claims=claims,
        on_disconnect=options.on_disconnect,
    )

    async def speak(request: HTTPRequest, body: ChatRequest) -> Response[Any]:
        parsed = parsed_chat_request(body, studio.chat_model(body.model))
        stream = bool(body.stream)
        if parsed.video is not None and not parsed.prompt.strip():
            return await studio.make_character(
                request, parsed.video, parsed.timestamps, model=parsed.model, stream=stream
            )
        return await studio.make(request, parsed, stream=stream)

    return Dialect(
        handlers=[*feature_routes(studio), *task_routes(context.services.jobs, context.name, studio, files)],
        shared_routes=[SharedRoute(chat_routes, ChatHandler(context.services.jobs, speak, claims))],
        error_response=error_response,
        path_prefixes=("/v1",),
        error_body=ErrorBody,
    )
