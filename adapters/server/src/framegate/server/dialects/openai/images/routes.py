"""OpenAI's images API, as a part of the dialect openai-videos."""

from collections.abc import Mapping
from typing import Any

from litestar import Response, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from framegate.server.dialect import PUBLIC, DialectContext
from framegate.server.dialects.openai.images.convert import rules
from framegate.server.dialects.openai.images.files import PATH, PictureFiles
from framegate.server.dialects.openai.images.reading import read_form
from framegate.server.dialects.openai.images.schemas import (
    EditFields,
    GenerateFields,
    Pictures,
    VariationFields,
)
from framegate.server.dialects.openai.images.studio import ImageStudio
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_json
from framegate.server.responses.files import sends_files
from framegate.server.responses.sse import STREAMS

_GENERATE: Mapping[str, Any] = {
    "One picture": {"prompt": "A white cat on a surfboard", "size": "1024x1024", "seed": 42},
    "Several, as links": {
        "prompt": "A white cat on a surfboard",
        "n": 2,
        "response_format": "url",
        "output_format": "webp",
    },
}


def image_routes(context: DialectContext, *, model: str, timeout: float) -> list[HTTPRouteHandler]:
    """``model`` serves who names none; a call takes at most ``timeout`` seconds."""
    files = PictureFiles(context)
    studio = ImageStudio(context.services, files, dialect=context.name, model=model, timeout=timeout)

    @post(
        "/v1/images/generations",
        status_code=200,
        summary="Make pictures",
        opt={**documents(GenerateFields, _GENERATE), **STREAMS},
    )
    async def generate_images(request: HTTPRequest) -> Response[Pictures]:
        fields = await read_json(request, GenerateFields, rules)
        return await studio.make(request, fields, "image_generation")

    @post(
        "/v1/images/edits",
        status_code=200,
        summary="Make pictures from pictures, or anew where a mask is transparent",
        opt={
            **documents(EditFields, content_type=MULTIPART, files={"image": True, "mask": False}),
            **STREAMS,
        },
    )
    async def edit_images(request: HTTPRequest) -> Response[Pictures]:
        fields, uploads = await read_form(request, EditFields, context.max_input, several=True)
        return await studio.make(request, fields, "image_edit", uploads)

    @post(
        "/v1/images/variations",
        status_code=200,
        summary="Make variations of a picture",
        opt=documents(VariationFields, content_type=MULTIPART, files={"image": True}),
    )
    async def vary_image(request: HTTPRequest) -> Response[Pictures]:
        fields, uploads = await read_form(request, VariationFields, context.max_input, several=False)
        return await studio.make(request, fields, "image_edit", uploads)

    @route(
        f"{PATH}/{{name:str}}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("image/png", "image/jpeg", "image/webp")},
        summary="A picture by the name in its link",
    )
    async def image_file(name: FromPath[str]) -> Response[bytes]:
        return await files.send(name)

    return [generate_images, edit_images, vary_image, image_file]
