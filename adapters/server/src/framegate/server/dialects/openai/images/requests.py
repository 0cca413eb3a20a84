"""Turn the bodies of OpenAI's images API into generation requests.

Forms have their fields as text, and ``image`` once or ``image[]`` several times; JSON has ``images``.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from litestar.datastructures import UploadFile
from msgspec import Struct

from framegate.core.errors import InvalidRequest
from framegate.core.ports import BytesSource, CollageSource, FileSource, MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.dialects.openai.extras import HOLDERS, METADATA, parse_objects, unwrap
from framegate.server.dialects.openai.fields import parse_size, steps_errors
from framegate.server.dialects.openai.images.schemas import (
    EditFields,
    EditReferences,
    ImageFields,
    ImageReference,
    PromptFields,
    VariationFields,
)
from framegate.server.errors.field_errors import FieldError, shortened
from framegate.server.requests.bodies import (
    FORMS,
    HTTPRequest,
    convert_fields,
    read_form_values,
    read_json,
    unknown_files,
    upload_bytes,
)
from framegate.server.requests.form_nesting import nest
from framegate.server.requests.media import media_source

VARIATION = "A variation of this picture"
"""The prompt of a variation, for which OpenAI's API accepts none."""

PARAMS: Mapping[str, str] = {"num_outputs": "n", "width": "size", "height": "size"}
"""The API's names of the core's request fields."""

MAX_IMAGES = 16
_IMAGE_FIELDS = ("image", "image[]")
_REFUSED: Mapping[str, str] = {
    "svg": "No model here makes SVGs; leave this out, and use output_format png, jpeg or webp",
    "frame_count": "No model here makes GIFs; leave this out, or make a video with POST /v1/videos",
    "frame_duration_ms": "No model here makes GIFs; leave this out, or make a video with POST /v1/videos",
    "markup": "No model here takes markup; leave this out, and use mask for the area to edit",
}
_REFUSED_FORMATS: Mapping[Any, str] = {
    "svg": "No model here makes SVGs; use png, jpeg or webp",
    "gif": "No model here makes GIFs; use png, jpeg or webp, or make a video with POST /v1/videos",
}
_NESTED = tuple(f"{name}[" for name in (*HOLDERS, METADATA))

Fields = TypeVar("Fields", bound=ImageFields)


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield errors that the types can't express, such as conflicting fields."""
    size = values.get("size")
    if size not in (None, "auto") and not parse_size(size):
        message = 'Input should be "auto", or pixels such as "1024x1024"'
        yield FieldError(("size",), "value_error", message, shortened(size))
    yield from steps_errors(values)
    strengths = values.get("strength"), values.get("i2i_denoise_strength")
    if None not in strengths and strengths[0] != strengths[1]:
        message = "This conflicts with strength; give only one of them"
        yield FieldError(("i2i_denoise_strength",), "value_error", message, strengths[1])
    if values.get("background") == "transparent":
        message = "No model here makes transparent images; use opaque or auto"
        yield FieldError(("background",), "value_error", message, "transparent")
    for name, message in _REFUSED.items():
        if values.get(name) is not None:
            yield FieldError((name,), "value_error", message, shortened(values[name]))
    file_format = values.get("output_format")
    if refusal := _REFUSED_FORMATS.get(file_format):
        yield FieldError(("output_format",), "value_error", refusal, file_format)
    compression = values.get("output_compression")
    if compression not in (None, 100) and file_format in (None, "png"):
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
        negative_prompt=fields.negative_prompt,
        width=width,
        height=height,
        num_inference_steps=fields.num_inference_steps or fields.steps,
        guidance_scale=fields.guidance_scale,
        strength=_strength(fields),
        seed=fields.seed,
        num_outputs=fields.n or 1,
        num_partial_images=(fields.partial_images or 0)
        if isinstance(fields, PromptFields) and fields.stream
        else 0,
    )


def _strength(fields: ImageFields) -> float | None:
    if not isinstance(fields, EditFields | VariationFields):
        return None
    return fields.i2i_denoise_strength if fields.strength is None else fields.strength


class Inputs(Struct, frozen=True):
    """The images to start from, at least one, and the mask of the first."""

    images: tuple[FileSource, ...]
    mask: FileSource | None

    @property
    def media(self) -> dict[str, MediaSource]:
        """The media of a generation request; several images become one."""
        first, *others = self.images
        if others:
            return {"image": CollageSource(self.images, self.mask)}
        media: dict[str, MediaSource] = {"image": first}
        return media if self.mask is None else {**media, "mask": self.mask}


async def read_edit(request: HTTPRequest, max_bytes: int) -> tuple[EditFields, Inputs]:
    """Read the JSON or the form of an edit. The errors are those of `read_form`."""
    if request.content_type[0] in FORMS:
        return await read_form(request, EditFields, max_bytes, several=True)
    fields = unwrap(request, await read_json(request, EditReferences, rules), rules)
    images = [image_source(image, f"images[{index}]") for index, image in enumerate(fields.images)]
    return fields, Inputs(tuple(images), image_source(fields.mask, "mask") if fields.mask else None)


def image_source(reference: ImageReference, field: str) -> FileSource:
    """Return the source of an image in JSON; ``field`` holds it.

    Raises:
        InvalidRequest: It is a file's id, or neither an http(s) URL nor a data URI.
    """
    if reference.file_id is not None:
        raise InvalidRequest(
            f"The file {reference.file_id[:100]!r} is not kept here: this server has no files API. Send the "
            "image as image_url, an http(s) URL or a data URI.",
            param=f"{field}.file_id",
        )
    if reference.image_url is None:
        raise InvalidRequest("An image needs its image_url.", param=f"{field}.image_url")
    return media_source(reference.image_url, f"{field}.image_url")


async def read_form(
    request: HTTPRequest, model: type[Fields], max_bytes: int, *, several: bool
) -> tuple[Fields, Inputs]:
    """Read a form: its fields as ``model``, and its uploads; ``several`` images and a mask, or one image.

    Raises:
        InvalidFields: Fields or files are missing or wrong; all of them are named.
        InvalidMedia: A file is larger than ``max_bytes``.
        UnsupportedContentType: The body is not a form.
    """
    form = await read_form_values(request, model, (*_IMAGE_FIELDS, "mask"))
    texts: dict[str, Any] = {}
    nested: list[tuple[str, Any]] = []
    images: list[UploadFile] = []
    masks: list[UploadFile] = []
    found: list[FieldError] = []
    for name, value in form.multi_items():
        if (refused := name.partition("[")[0]) in _REFUSED and (value or isinstance(value, UploadFile)):
            found.append(FieldError((name,), "value_error", _REFUSED[refused]))
        elif not isinstance(value, UploadFile):
            if name.startswith(_NESTED):
                nested.append((name, value))
                continue
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
    texts |= nest([*((name, texts.pop(name)) for name in (*HOLDERS, METADATA) if name in texts), *nested])
    found += parse_objects(texts)
    found += _file_errors(texts, images, masks, limit=MAX_IMAGES if several else 1)
    fields = unwrap(request, convert_fields(request, texts, model, rules, found=found), rules)
    sources = [BytesSource(await upload_bytes(upload, "image", max_bytes)) for upload in images]
    mask = BytesSource(await upload_bytes(masks[0], "mask", max_bytes)) if masks else None
    return fields, Inputs(tuple(sources), mask)


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
