"""The dialect openai-chat: image (or text) to video as a chat completion, and ComfyUI's ``/view``."""

from typing import Any

from litestar import Controller, Response, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromQuery
from litestar.types import ASGIApp

from framegate.core.errors import InvalidRequest, ModelNotFound
from framegate.core.jobs import Job
from framegate.core.registry import ServedModel
from framegate.server.dialect import PUBLIC, Dialect, DialectContext, SharedRoute, provide_instance
from framegate.server.dialects.openai.chat.answers import StreamUsage, answer
from framegate.server.dialects.openai.chat.controllers import ChatHandler, compose_chat
from framegate.server.dialects.openai.chat.job_events import job_events
from framegate.server.dialects.openai.chat.options import ChatOptions
from framegate.server.dialects.openai.chat.schemas import ChatRequest
from framegate.server.dialects.openai.errors import ErrorBody, error_response, model_not_found
from framegate.server.dialects.openai_chat.convert import generation, read_chat_prompt
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import sends_files
from framegate.server.responses.result_files import ResultFiles

# The request field that holds what the core names in its errors.
_FIELDS = {"prompt": "messages", "image": "messages"}


class ViewController(Controller):
    """Result files, where ComfyUI has them."""

    @route(
        "/view",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("video/mp4")},
        summary="A result by the name in its link",
    )
    async def view(
        self,
        request: HTTPRequest,
        files: NamedDependency[ResultFiles],
        filename: FromQuery[str],
        type: FromQuery[str] = "output",  # noqa: A002 # ComfyUI's name for it
    ) -> ASGIApp:
        """Send a result file."""
        if type != "output":
            raise NotFoundException
        return await files.send(request, filename)


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(ChatOptions)
    files = ResultFiles(context, "/view?filename={name}&type=output")
    service = context.services.jobs

    def resolve(name: str) -> ServedModel:
        try:
            return service.registry.resolve(name)
        except ModelNotFound as error:
            raise model_not_found(name) from error

    async def answer_chat(
        request: HTTPRequest, body: ChatRequest, served: ServedModel, usage: StreamUsage
    ) -> Response[Any]:
        prompt = read_chat_prompt(body)
        generation_request = generation(served, prompt, body.seed)
        try:
            job = await context.client_jobs(request).submit(generation_request)
        except InvalidRequest as error:
            error.param = _FIELDS.get(error.param or "", error.param)
            raise

        async def content(done: Job) -> str:
            link = (await files.links(request, done))[0]
            return f"Successfully generated video for: {prompt.text}\n\nGenerated Video URL: {link}"

        events = job_events(
            service,
            job,
            opening=["The image was received.\n"] if generation_request.image else [],
            content=content,
            on_disconnect=options.on_disconnect,
        )
        return await answer(request, body.model, events, stream=bool(body.stream), usage=usage)

    handler = ChatHandler(
        dialect=context.name,
        registry=service.registry,
        claims=lambda _: True,
        resolve=resolve,
        answer=answer_chat,
        options=options,
        any_model=True,
    )
    return Dialect(
        handlers=[ViewController],
        dependencies={"files": provide_instance(files)},
        shared_routes=[SharedRoute(compose_chat, handler)],
        error_response=error_response,
        path_prefixes=("/v1", "/view"),
        error_body=ErrorBody,
        unknown_fields="ignore",
    )
