"""openai-videos: the routes, composed."""

from typing import Annotated

from msgspec import Meta, Struct

from framegate.server.dialect import Dialect, DialectContext
from framegate.server.dialects.openai.chat.schemas import ErrorBody
from framegate.server.dialects.openai.images.routes import image_routes
from framegate.server.dialects.openai.videos.character_routes import character_routes
from framegate.server.dialects.openai.videos.create_routes import create_routes
from framegate.server.dialects.openai.videos.errors import error_response
from framegate.server.dialects.openai.videos.studio import Studio
from framegate.server.dialects.openai.videos.video_routes import video_routes


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """``[dialects.openai-videos]``. ``model`` and ``image_model`` serve who names none; a call for images
    takes at most ``image_timeout`` seconds."""

    model: str = "sora-2"
    image_model: str = "gpt-image-2"
    image_timeout: Annotated[float, Meta(gt=0)] = 600.0


def create(context: DialectContext) -> Dialect:
    options = context.parse_options(Options)
    studio = Studio(
        context.services,
        dialect=context.name,
        model=options.model,
        max_input=context.max_input,
        retention=context.retention,
    )
    return Dialect(
        handlers=[
            *create_routes(studio),
            *video_routes(studio),
            *character_routes(studio),
            *image_routes(context, model=options.image_model, timeout=options.image_timeout),
        ],
        error_response=error_response,
        path_prefixes=("/v1/videos", "/v1/images"),
        error_body=ErrorBody,
    )
