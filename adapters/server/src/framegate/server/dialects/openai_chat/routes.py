"""openai-chat: image (or text) to video as a chat completion, and ComfyUI's ``/view``."""

from typing import Any

import structlog
from litestar import Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core.errors import InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.submission import Submission
from framegate.server.auth.keys import client_of
from framegate.server.dialect import PUBLIC, Dialect, DialectContext, SharedRoute
from framegate.server.dialects.openai.chat.answers import answer
from framegate.server.dialects.openai.chat.job_events import OnDisconnect, job_events
from framegate.server.dialects.openai.chat.routes import ChatHandler, chat_routes
from framegate.server.dialects.openai.chat.schemas import ChatRequest, ErrorBody
from framegate.server.dialects.openai.errors import error_response
from framegate.server.dialects.openai_chat.convert import generation, question_of
from framegate.server.request_log import request_id_of
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles

# Where in the request the inputs are that the core complains of.
_FIELDS = {"prompt": "messages", "image": "messages"}


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.openai-chat]``. ``on_disconnect`` "keep" lets a job run to its end without its client."""

    on_disconnect: OnDisconnect = "cancel"


def create(context: DialectContext) -> Dialect:
    options = context.parse_options(Options)
    files = ResultFiles(context)
    service = context.services.jobs

    async def speak(request: HTTPRequest, body: ChatRequest) -> Response[Any]:
        try:
            served = service.registry.resolve(body.model)
        except ModelNotFound as error:
            raise ModelNotFound(f"The model {body.model[:100]!r} does not exist.", param="model") from error
        question = question_of(body)
        wanted = generation(served, question, body.seed)
        try:
            job = await service.submit(
                Submission(
                    dialect=context.name,
                    request=wanted,
                    client=client_of(request.scope),
                    request_id=request_id_of(request.scope),
                    require_worker=True,
                )
            )
        except InvalidRequest as error:
            error.param = _FIELDS.get(error.param or "", error.param)
            raise
        structlog.contextvars.bind_contextvars(job_id=job.id)

        def content(done: Job) -> str:
            link = files.absolute(request, f"/view?filename={files.names(done)[0]}&type=output")
            return f"Successfully generated video for: {question.text}\n\nGenerated Video URL: {link}"

        events = job_events(
            service,
            job,
            opening=["The image was received.\n"] if wanted.image else [],
            content=content,
            on_disconnect=options.on_disconnect,
        )
        return await answer(request, body.model, events, stream=bool(body.stream))

    speaker = ChatHandler(service, speak, claims=lambda _: True, any_model=True)
    return Dialect(
        handlers=[_view_route(files)],
        shared_routes=[SharedRoute(chat_routes, speaker)],
        error_response=error_response,
        path_prefixes=("/v1", "/view"),
        error_body=ErrorBody,
    )


def _view_route(files: ResultFiles) -> HTTPRouteHandler:
    @route(
        "/view",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("video/mp4")},
        summary="A result by the name in its link",
    )
    async def view(
        request: HTTPRequest,
        filename: FromQuery[str],
        type: FromQuery[str] = "output",  # noqa: A002 # ComfyUI's name for it
    ) -> ASGIApp:
        if type != "output":
            raise NotFoundException
        return await files.send(request, filename)

    return view
