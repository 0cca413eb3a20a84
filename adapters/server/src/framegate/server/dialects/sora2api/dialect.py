"""The dialect sora2api, put together."""

from typing import Any

from litestar import Response

from framegate.core.options import Duration
from framegate.core.registry import ServedModel
from framegate.server.dialect import Dialect, DialectContext, SharedRoute, provide_instance
from framegate.server.dialects.openai.chat.controllers import OPENAI_ROUTES, ChatHandler, compose_chat
from framegate.server.dialects.openai.chat.options import ChatOptions
from framegate.server.dialects.openai.errors import ErrorBody, error_body, in_openai_terms
from framegate.server.dialects.sora2api.catalogue import CATALOGUE
from framegate.server.dialects.sora2api.controllers import (
    CharacterController,
    FileController,
    ImageController,
    TaskController,
    VideoController,
)
from framegate.server.dialects.sora2api.features import USAGE, FeatureHandlers
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import ResultFiles

_CATALOGUE = "sora2api"
_NAMES = frozenset(entry.name for entry in CATALOGUE)


class Options(ChatOptions, frozen=True, forbid_unknown_fields=True):
    """The table ``[dialects.sora2api]``.

    ``models`` are names, in addition to the catalogue's, that the chat handles in this dialect's style.
    ``max_storyboard`` is how long a storyboard may be, in seconds, whatever length its model's name promises.
    """

    models: tuple[str, ...] = ()
    max_storyboard: Duration = Duration(60)


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return OpenAI's response for an error; a 401 has no code, and 429 one type, as in the document.

    The former does not hold for the endpoints that are shared with openai-chat: the model, which decides
    whose they are, is not known yet.
    """
    error_info = in_openai_terms(error_info)
    body = error_body(error_info)
    handler = request.scope.get("route_handler")
    if error_info.status == 401 and not (handler and handler.opt.get(OPENAI_ROUTES)):
        body.error.code = None
    if error_info.status == 429:
        body.error.type = "rate_limit_error"
    return Response(body, status_code=error_info.status)


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it.

    Raises:
        ConfigError: ``models`` names a model that does not exist.
    """
    options = context.parse_options(Options)
    context.check_models("models")

    # An alias may give a catalogue's name to a model that is in no catalogue.
    names = _NAMES.union(options.models)

    def claims(served: ServedModel) -> bool:
        return served.catalogue == _CATALOGUE or served.name in names

    files = ResultFiles(context, "/v1/files/{name}")
    features = FeatureHandlers(
        context,
        files=files,
        claims=claims,
        on_disconnect=options.on_disconnect,
        max_storyboard=options.max_storyboard,
    )
    handler = ChatHandler(
        dialect=context.name,
        registry=context.services.jobs.registry,
        claims=claims,
        resolve=features.chat_model,
        answer=features.chat,
        options=options,
        usage=USAGE,
    )
    return Dialect(
        handlers=[ImageController, VideoController, CharacterController, TaskController, FileController],
        dependencies={"features": provide_instance(features), "files": provide_instance(files)},
        shared_routes=[SharedRoute(compose_chat, handler)],
        error_response=error_response,
        path_prefixes=("/v1",),
        error_body=ErrorBody,
        unknown_fields="ignore",
    )
