"""The endpoints of OpenAI's responses API, for its image tool."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from framegate.core.errors import NotFound
from framegate.server.dialects.openai.images.handlers import ImageHandlers
from framegate.server.dialects.openai.responses.handlers import respond
from framegate.server.dialects.openai.responses.schemas import CreateResponse, ResponseObject
from framegate.server.requests.bodies import HTTPRequest, documents, read_json
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.unknown_fields import UNKNOWN_FIELDS_OPT
from framegate.server.responses.sse import STREAMS

_CREATE: Mapping[str, Any] = {
    "An image": {
        "model": "gpt-5",
        "input": "Draw a white cat on a surfboard",
        "tools": [{"type": "image_generation", "size": "1024x1024"}],
    },
}


class ResponseController(Controller):
    """Responses whose output are images."""

    path = "/v1/responses"

    @post(
        "/",
        status_code=200,
        summary="Make an image with the image tool",
        # OpenAI's clients send options of text models along with the image tool.
        opt={**documents(CreateResponse, _CREATE), **STREAMS, UNKNOWN_FIELDS_OPT: "ignore"},
    )
    async def create_response(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        images: NamedDependency[ImageHandlers],
    ) -> Response[ResponseObject]:
        """Make an image from a prompt and images."""
        body = await read_json(request, CreateResponse)
        return await respond(request, client_jobs, images, body)

    @get("/{response_id:str}", summary="Responses are not kept: always 404")
    async def get_response(self, response_id: FromPath[str]) -> ResponseObject:
        """Refuse to return a response."""
        raise NotFound(
            f"There is no response {response_id[:100]!r}: responses are not kept here.", param="response_id"
        )
