"""Turn the bodies of OpenAI's images API into generation requests.

Forms have their fields as text, and ``image`` once or ``image[]`` several times.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from litestar.datastructures import UploadFile
from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.ports import MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.openai.fields import parse_size, steps_errors
from framegate.server.dialects.openai.images.schemas import (
    EditFields,
    ImageFields,
    PromptFields,
    VariationFields,
)
from framegate.server.errors.field_errors import FieldError, shortened
from framegate.server.requests.bodies import (
    HTTPRequest,
    convert_fields,
    read_form_values,
    unknown_files,
    upload_bytes,
)

VARIATION = "A variation of this picture"
"""The prompt of a variation, for which OpenAI's API accepts none."""

PARAMS: Mapping[str, str] = {"num_outputs": "n", "width": "size", "height": "size"}
"""The API's names of the core's request fields."""

MAX_IMAGES = 16
_IMAGE_FIELDS = ("image", "image[]")

Model = TypeVar("Model", bound=Struct)


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield errors that the types can't express, such as conflicting fields."""
    size = values.get("size")
    if size not in (None, "auto") and not parse_size(size):
        message = 'Input should be "auto", or pixels such as "1024x1024"'
        yield FieldError(("size",), "value_error", message, shortened(size))
    yield from steps_errors(values)
    compression = values.get("output_compression")
    if compression not in (None, 100) and values.get("output_format") in (None, "png"):
        message = "Only jpeg and webp can be compressed; PNG is lossless"
        yield FieldError(("output_compression",), "value_error", message, compression)


def generation(served: ServedModel, fields: ImageFields) -> GenerationRequest[MediaSource]:
    """Return the request for these fields, without media.

    Raises:
        InvalidRequest: The model does not make images.
    """
    if not served.makes(MediaKind.IMAGE):
        raise InvalidRequest(f"The model {served.name} is not an image model.", param="model")
    width, height = parse_size(fields.size or "") or (None, None)
    from_image = isinstance(fields, EditFields | VariationFields)
    return GenerationRequest(
        model=served.name,
        task=Task.IMAGE_TO_IMAGE if from_image else Task.TEXT_TO_IMAGE,
        prompt=fields.prompt if isinstance(fields, PromptFields) else VARIATION,
        negative_prompt=fields.negative_prompt or "",
        width=width,
        height=height,
        num_inference_steps=fields.num_inference_steps or fields.steps,
        guidance_scale=fields.guidance_scale,
        strength=fields.strength if isinstance(fields, EditFields | VariationFields) else None,
        seed=fields.seed,
        num_outputs=fields.n or 1,
        num_partial_images=(fields.partial_images or 0)
        if isinstance(fields, PromptFields) and fields.stream
        else 0,
    )


class Uploads(Struct, frozen=True):
    """The files of a form."""

    images: Sequence[bytes]
    mask: bytes | None


async def read_form(
    request: HTTPRequest, model: type[Model], max_bytes: int, *, several: bool
) -> tuple[Model, Uploads]:
    """Read a form: its fields as ``model``, and its uploads; ``several`` images and a mask, or one image.

    Raises:
        InvalidFields: Fields or files are missing or wrong; all of them are named.
        InvalidMedia: A file is larger than ``max_bytes``.
        UnsupportedContentType: The body is not a form.
    """
    form = await read_form_values(request, (*_IMAGE_FIELDS, "mask"))
    texts: dict[str, Any] = {}
    images: list[UploadFile] = []
    masks: list[UploadFile] = []
    found: list[FieldError] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            if name in texts:
                found.append(FieldError((name,), "value_error", "This field is given more than once"))
            if value != "":  # an empty text counts as an omitted field
                texts[name] = value
        elif name in _IMAGE_FIELDS:
            images.append(value)
        elif name == "mask" and several:
            masks.append(value)
        else:
            found += unknown_files(request, [name])
    found += _file_errors(texts, images, masks, limit=MAX_IMAGES if several else 1)
    fields = convert_fields(request, texts, model, rules, found=found)
    return fields, Uploads(
        [await upload_bytes(upload, "image", max_bytes) for upload in images],
        await upload_bytes(masks[0], "mask", max_bytes) if masks else None,
    )


def _file_errors(
    texts: dict[str, Any], images: Sequence[Any], masks: Sequence[Any], *, limit: int
) -> list[FieldError]:
    found = [
        FieldError((name,), "file_type", "This should be an uploaded file")
        for name in (*_IMAGE_FIELDS, "mask")
        if texts.pop(name, None) is not None
    ]
    if not images and not found:
        found.append(FieldError(("image",), "missing", "This file is required"))
    if len(images) > limit:
        found.append(FieldError(("image",), "too_long", f"At most {limit} of them are accepted", len(images)))
    if len(masks) > 1:
        found.append(FieldError(("mask",), "too_long", "At most one of them is accepted", len(masks)))
    return found
