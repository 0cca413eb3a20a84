"""``/v1/chat/completions`` and ``/v1/models``: one handler each for every dialect that answers there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from framegate.core.errors import ModelNotFound
from framegate.core.registry import ServedModel
from framegate.core.service import JobService
from framegate.core.types import MediaKind
from framegate.server.dialects.openai.chat.schemas import ChatRequest, Completion, ModelItem, ModelList
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.responses.sse import STREAMS

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
    """One dialect's part in the chat routes. ``claims`` says which models it answers for; ``any_model``
    that it takes those that no other dialect claims, and the unknown ones."""

    service: JobService
    answer: Callable[[HTTPRequest, ChatRequest], Awaitable[Response[Any]]]
    claims: Callable[[ServedModel], bool]
    any_model: bool = False


def chat_routes(speakers: Sequence[ChatHandler]) -> list[HTTPRouteHandler]:
    ordered = sorted(speakers, key=lambda speaker: speaker.any_model)
    service = ordered[0].service

    @post(
        "/v1/chat/completions",
        status_code=200,
        summary="Make what the last message asks for",
        opt={**documents(ChatRequest, _EXAMPLES), **STREAMS},
    )
    async def chat_completions(request: HTTPRequest) -> Response[Completion]:
        body = await read_json(request, ChatRequest)
        if not body.messages:
            raise InvalidFields([FieldError(("messages",), "missing", "This field is required")])
        served = service.registry.names.get(body.model)
        claiming = (speaker for speaker in ordered if served is not None and speaker.claims(served))
        return await next(claiming, ordered[-1]).answer(request, body)

    @get("/v1/models", summary="The models that can be named")
    async def list_models() -> ModelList:
        return ModelList(data=[_item(served) for served in _claimed(service, ordered)])

    @get("/v1/models/{model_id:path}", summary="One of them")
    async def get_model(model_id: FromPath[str]) -> ModelItem:
        name = model_id.lstrip("/")
        for served in _claimed(service, ordered):
            if served.name == name:
                return _item(served)
        raise ModelNotFound(f"The model {name[:100]!r} does not exist.", param="model")

    return [chat_completions, list_models, get_model]


def _claimed(service: JobService, speakers: Sequence[ChatHandler]) -> list[ServedModel]:
    return [
        served
        for served in service.registry.names.values()
        if any(speaker.claims(served) for speaker in speakers)
    ]


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
