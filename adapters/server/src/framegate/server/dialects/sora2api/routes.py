"""sora2api: the routes, composed."""

from typing import Any

from litestar import Response
from msgspec import Struct

from framegate.core.errors import ConfigError
from framegate.core.registry import ServedModel
from framegate.server.dialect import Dialect, DialectContext, Joint
from framegate.server.dialects.openai.chat.job_events import OnDisconnect
from framegate.server.dialects.openai.chat.routes import ChatSpeaker, chat_routes
from framegate.server.dialects.openai.chat.schemas import ChatRequest, ErrorBody
from framegate.server.dialects.openai.errors import error_response
from framegate.server.dialects.sora2api.feature_routes import feature_routes
from framegate.server.dialects.sora2api.orders import chat_order
from framegate.server.dialects.sora2api.studio import Studio
from framegate.server.dialects.sora2api.task_routes import task_routes
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import ResultFiles

_PRESET = "sora2api"


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
    if unknown := [name for name in options.models if name not in context.service.registry.names]:
        raise ConfigError(f"dialects.{context.name}.models: there is no model {unknown[0]!r}.")

    def claims(served: ServedModel) -> bool:
        return served.preset == _PRESET or served.name in options.models

    files = ResultFiles(context)
    studio = Studio(
        context.service,
        dialect=context.name,
        files=files,
        claims=claims,
        on_disconnect=options.on_disconnect,
    )

    async def speak(request: HTTPRequest, body: ChatRequest) -> Response[Any]:
        order = chat_order(body, studio.chat_model(body.model))
        stream = bool(body.stream)
        if order.video is not None and not order.prompt.strip():
            return await studio.make_character(
                request, order.video, order.timestamps, model=order.model, stream=stream
            )
        return await studio.make(request, order, stream=stream)

    return Dialect(
        handlers=[*feature_routes(studio), *task_routes(context.service, context.name, studio, files)],
        joint=[Joint(chat_routes, ChatSpeaker(context.service, speak, claims))],
        error_response=error_response,
        owns=("/v1",),
        error_body=ErrorBody,
    )
