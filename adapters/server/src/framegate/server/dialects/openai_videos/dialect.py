"""The dialect openai-videos, put together: OpenAI's videos, images, and responses that are images."""

from typing import Annotated, Any

from litestar import Response
from msgspec import Meta, Struct

from framegate.core.errors import GenerationError, JobCancelled, QuotaReached
from framegate.server.dialect import Dialect, DialectContext, provide_instance
from framegate.server.dialects.openai import errors
from framegate.server.dialects.openai.errors import ErrorBody
from framegate.server.dialects.openai.images.controllers import ImageController
from framegate.server.dialects.openai.images.files import ImageFiles
from framegate.server.dialects.openai.images.handlers import ImageHandlers
from framegate.server.dialects.openai.responses.controllers import ResponseController
from framegate.server.dialects.openai.videos.controllers import CharacterController, VideoController
from framegate.server.dialects.openai.videos.handlers import VideoHandlers
from framegate.server.errors.error_info import ErrorInfo
from framegate.server.requests.bodies import HTTPRequest


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[dialects.openai-videos]``.

    ``model`` and ``image_model`` are the default models; a call for images takes at most ``image_timeout``
    seconds.
    """

    model: str = "sora-2"
    image_model: str = "gpt-image-2"
    image_timeout: Annotated[float, Meta(gt=0)] = 600.0


def create(context: DialectContext) -> Dialect:
    """Return the dialect as the config describes it."""
    options = context.parse_options(Options)
    context.check_models("model", "image_model")
    videos = VideoHandlers(
        context.services, model=options.model, max_input=context.max_input, retention=context.retention
    )
    image_files = ImageFiles(context)
    images = ImageHandlers(
        context.services,
        image_files,
        model=options.image_model,
        timeout=options.image_timeout,
        max_input=context.max_input,
    )
    return Dialect(
        handlers=[VideoController, CharacterController, ImageController, ResponseController],
        dependencies={
            "videos": provide_instance(videos),
            "images": provide_instance(images),
            "image_files": provide_instance(image_files),
        },
        error_response=error_response,
        path_prefixes=("/v1/videos", "/v1/images", "/v1/responses"),
        error_body=ErrorBody,
    )


def error_response(request: HTTPRequest, error_info: ErrorInfo) -> Response[Any]:
    """Return OpenAI's error response, with a header that keeps its SDKs from retrying permanent errors."""
    response = errors.error_response(request, error_info)
    if error_info.status == 409 or isinstance(
        error_info.error, GenerationError | JobCancelled | QuotaReached
    ):
        # The SDKs retry 409 as a lock conflict; here the conflict is permanent, and a failed job fails again.
        # What a key stores may become less, but not while a program waits.
        response.headers["x-should-retry"] = "false"
    return response
