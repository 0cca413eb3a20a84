"""``/v1/chat/completions`` and ``/v1/models``, shared by all dialects that answer there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from litestar import Controller, Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from msgspec import Struct

from framegate.core.registry import Registry, ServedModel
from framegate.core.submission import Client
from framegate.core.types import MediaKind
from framegate.server.auth.keys import client_of
from framegate.server.dialect import provide_instance
from framegate.server.dialects.openai.chat.answers import (
    Events,
    Result,
    StreamUsage,
    answer,
    stream_usage,
)
from framegate.server.dialects.openai.chat.options import ChatOptions
from framegate.server.dialects.openai.chat.schemas import ChatRequest, Completion, ModelItem, ModelList
from framegate.server.dialects.openai.chat.tasks import TaskPatterns
from framegate.server.dialects.openai.errors import model_not_found
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.responses.sse import STREAMS

OPENAI_ROUTES = "openai_routes"
"""The ``opt`` of these endpoints: whether a dialect that handles any model, as OpenAI's API, is among those
that share them. Its words hold for errors that come before the model is known."""
_EXAMPLES: Mapping[str, Any] = {
    "Text to video": {
        "model": "ltx2_landscape",
        "messages": [{"role": "user", "content": "A white cat on a surfboard"}],
    },
    "Image to video": {
        "model": "sora2-landscape-10s",
        "stream": True,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "The cat turns its head"},
                    {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                ],
            }
        ],
    },
}


class ChatHandler(Struct, frozen=True):
    """One dialect's part in the chat endpoints.

    Attributes:
        dialect: The dialect's name.
        registry: The models.
        claims: Return whether the dialect handles a model.
        resolve: Return the model of a name, or raise the dialect's error if it does not handle that.
        answer: Answer a chat with such a model; the usage is for its stream.
        options: The dialect's options for chats.
        usage: What its streams say about usage unless a request asks.
        any_model: It also handles the models that no other dialect claims, and unknown ones.
    """

    dialect: str
    registry: Registry
    claims: Callable[[ServedModel], bool]
    resolve: Callable[[str], ServedModel]
    answer: Callable[[HTTPRequest, ChatRequest, ServedModel, StreamUsage], Awaitable[Response[Any]]]
    options: ChatOptions
    usage: StreamUsage = StreamUsage.ABSENT
    any_model: bool = False


class ChatHandlers:
    """The handlers of all dialects at one path; each model is handled by one of them."""

    def __init__(self, handlers: Sequence[ChatHandler]) -> None:
        self._handlers = sorted(handlers, key=lambda handler: handler.any_model)
        self._registry = handlers[0].registry
        self._tasks = TaskPatterns(
            pattern for handler in handlers for pattern in handler.options.task_patterns
        )

    async def answer(self, request: HTTPRequest, body: ChatRequest) -> Response[Any]:
        """Answer as the dialect that claims the model; tasks of front ends get a text."""
        client = client_of(request.scope)
        handler = self._handler_for(body.model, client)
        served = handler.resolve(body.model)
        client.require_name(served.name)
        usage = stream_usage(body, handler.usage)
        task_answer = self._tasks.answer_to(body.messages) if handler.options.answer_tasks else None
        if task_answer is None:
            return await handler.answer(request, body, served, usage)
        events = _only(Result(task_answer))
        return await answer(request, body.model, events, stream=bool(body.stream), usage=usage)

    def _handler_for(self, model: str, client: Client) -> ChatHandler:
        served = self._registry.names.get(model)
        handlers = self._handlers_of(client)
        claiming = (handler for handler in handlers if served is not None and handler.claims(served))
        return next(claiming, handlers[-1])

    def _handlers_of(self, client: Client) -> list[ChatHandler]:
        """Return the handlers of the dialects that ``client`` may call; the guard has let it call one."""
        return [handler for handler in self._handlers if client.may_call(handler.dialect)]

    def models(self, client: Client) -> list[ServedModel]:
        """Return the models that ``client`` may name and that some handler claims."""
        handlers = self._handlers_of(client)
        return [
            served
            for served in self._registry.names.values()
            if client.may_name(served.name) and any(handler.claims(served) for handler in handlers)
        ]


class ChatController(Controller):
    """Chat completions."""

    @post(
        "/v1/chat/completions",
        status_code=200,
        summary="Generate an image or a video from the last message",
        opt={**documents(ChatRequest, _EXAMPLES), **STREAMS},
    )
    async def chat_completions(
        self, request: HTTPRequest, chat_handlers: NamedDependency[ChatHandlers]
    ) -> Response[Completion]:
        """Respond as the dialect that claims the model."""
        body = await read_json(request, ChatRequest)
        if not body.messages:
            raise InvalidFields([FieldError(("messages",), "missing", "This field is required")])
        return await chat_handlers.answer(request, body)


class ModelController(Controller):
    """The models of the chat endpoint."""

    path = "/v1/models"

    @get("/", summary="The models that requests can name")
    async def list_models(
        self, request: HTTPRequest, chat_handlers: NamedDependency[ChatHandlers]
    ) -> ModelList:
        """Return all models that the caller may use."""
        return ModelList(data=[_item(served) for served in chat_handlers.models(client_of(request.scope))])

    @get("/{model_id:path}", summary="One model")
    async def get_model(
        self, request: HTTPRequest, chat_handlers: NamedDependency[ChatHandlers], model_id: FromPath[str]
    ) -> ModelItem:
        """Return one model."""
        name = model_id.lstrip("/")
        for served in chat_handlers.models(client_of(request.scope)):
            if served.name == name:
                return _item(served)
        raise model_not_found(name)


def compose_chat(handlers: Sequence[ChatHandler]) -> list[ControllerRouterHandler]:
    """Return the chat endpoints for the dialects that share them."""
    return [
        Router(
            "/",
            route_handlers=[ChatController, ModelController],
            dependencies={"chat_handlers": provide_instance(ChatHandlers(handlers))},
            opt={OPENAI_ROUTES: any(handler.any_model for handler in handlers)},
        )
    ]


async def _only(result: Result) -> Events:
    yield result


def _item(served: ServedModel) -> ModelItem:
    defaults = served.spec.defaults
    size = f" {defaults.width}×{defaults.height}" if defaults.width and defaults.height else ""
    if not served.makes(MediaKind.VIDEO):
        description = f"Image{size}"
    else:
        length = f", {defaults.duration:g} s" if defaults.duration else ""
        description = f"Video{size}{length}"
    plan = f", needs the plan {served.plan}" if served.plan else ""
    return ModelItem(id=served.name, description=description + plan)
