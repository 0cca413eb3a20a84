"""The endpoints of OpenAI's images API."""

from collections.abc import Mapping
from typing import Any

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from framegate.server.dialect import PUBLIC
from framegate.server.dialects.openai.extras import unwrap
from framegate.server.dialects.openai.images.files import FILES, PATH, ImageFiles
from framegate.server.dialects.openai.images.handlers import ImageHandlers
from framegate.server.dialects.openai.images.requests import read_edit, read_form, rules
from framegate.server.dialects.openai.images.schemas import (
    EditFields,
    GenerateFields,
    Images,
    VariationFields,
)
from framegate.server.requests.bodies import MULTIPART, HTTPRequest, documents, read_json
from framegate.server.requests.jobs import ClientJobs
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


class ImageController(Controller):
    """Images, by calls that wait for the result or stream it."""

    path = PATH

    @post(
        "/generations",
        status_code=200,
        summary="Make images",
        opt={**documents(GenerateFields, _GENERATE), **STREAMS},
    )
    async def generate_images(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        images: NamedDependency[ImageHandlers],
    ) -> Response[Images]:
        """Make images from a prompt."""
        fields = unwrap(request, await read_json(request, GenerateFields, rules), rules)
        return await images.generate(request, client_jobs, fields, "image_generation")

    @post(
        "/edits",
        status_code=200,
        summary="Edit images, or only the part that a mask marks",
        opt={
            **documents(EditFields, content_type=MULTIPART, files={"image": True, "mask": False}),
            **STREAMS,
        },
    )
    async def edit_images(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        images: NamedDependency[ImageHandlers],
    ) -> Response[Images]:
        """Make images from a prompt and images."""
        fields, inputs = await read_edit(request, images.max_input)
        return await images.generate(request, client_jobs, fields, "image_edit", inputs)

    @post(
        "/variations",
        status_code=200,
        summary="Make variations of an image",
        opt=documents(VariationFields, content_type=MULTIPART, files={"image": True}),
    )
    async def vary_image(
        self,
        request: HTTPRequest,
        client_jobs: NamedDependency[ClientJobs],
        images: NamedDependency[ImageHandlers],
    ) -> Response[Images]:
        """Make images from an image alone."""
        fields, inputs = await read_form(request, VariationFields, images.max_input, several=False)
        return await images.generate(request, client_jobs, fields, "image_edit", inputs)

    @route(
        f"{FILES}/{{name:str}}",
        http_method=["GET", "HEAD"],
        opt={**PUBLIC, **sends_files("image/png", "image/jpeg", "image/webp")},
        summary="An image by the name in its link",
    )
    async def image_file(
        self, request: HTTPRequest, image_files: NamedDependency[ImageFiles], name: FromPath[str]
    ) -> ASGIApp:
        """Send an image."""
        return await image_files.send(request, name)
