"""Turn the bodies of OpenAI's videos API into generation requests."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from litestar.datastructures import UploadFile

from framegate.core.errors import InvalidRequest
from framegate.core.ports import MediaSource
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.openai.extras import ExtraFields, parse_objects, split_form, unwrap
from framegate.server.dialects.openai.fields import parse_size, steps_errors
from framegate.server.dialects.openai.videos.schemas import (
    CreateFields,
    ExtendFields,
    GenerationFields,
    SizedGenerationFields,
)
from framegate.server.errors.field_errors import FieldError, Rules, shortened
from framegate.server.requests.bodies import (
    FORMS,
    HTTPRequest,
    convert_fields,
    read_form_values,
    read_json,
)

REMIXED_FROM = "remixed_from"
"""The label of a remix that holds the id of its source."""

_SECONDS = re.compile(r"\d{1,4}(\.\d{1,3})?", re.ASCII)

Fields = TypeVar("Fields", bound=ExtraFields)


def rules(values: Mapping[str, Any]) -> Iterable[FieldError]:
    """Yield errors that the types can't express, such as conflicting fields."""
    seconds = values.get("seconds")
    if seconds is not None and not _is_length(seconds):
        message = 'Input should be seconds such as "4"'
        yield FieldError(("seconds",), "value_error", message, shortened(seconds))
    size = values.get("size")
    if size is not None and not parse_size(size):
        message = 'Input should be pixels such as "1280x720"'
        yield FieldError(("size",), "value_error", message, shortened(size))
    yield from steps_errors(values)


def _is_length(seconds: Any) -> bool:
    return bool(_SECONDS.fullmatch(_plain(seconds))) and float(seconds) > 0


def _plain(seconds: str | float) -> str:
    return seconds if isinstance(seconds, str) else f"{seconds:g}"


def generation(
    fields: GenerationFields, model: str, task: Task = Task.TEXT_TO_VIDEO
) -> GenerationRequest[MediaSource]:
    """Return the request for these fields, without media."""
    size = seconds = fps = None
    if isinstance(fields, SizedGenerationFields):
        fps, seconds = fields.fps, fields.seconds
        size = parse_size(fields.size or "")
    if isinstance(fields, ExtendFields):
        seconds = fields.seconds
    width, height = size or (None, None)
    return GenerationRequest(
        model=model,
        task=task,
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        width=width,
        height=height,
        num_frames=fields.num_frames,
        duration=None if seconds is None or fields.num_frames is not None else float(seconds),
        fps=fps,
        num_inference_steps=fields.num_inference_steps or fields.steps,
        guidance_scale=fields.guidance_scale,
        seed=fields.seed,
        extends_video=isinstance(fields, ExtendFields),
    )


def image_address(fields: CreateFields, *, uploaded: bool) -> tuple[str, str] | None:
    """Return the text of the image to start from and the field that holds it; None if there is none.

    ``uploaded`` tells whether there is a file as well.

    Raises:
        InvalidRequest: A video can't start from what is given.
    """
    reference = fields.input_reference
    if reference and reference.file_id:
        raise InvalidRequest(
            "This server keeps no uploaded files: give input_reference as a file, or as image_url.",
            param="input_reference.file_id",
        )
    addresses = [
        (text, name)
        for name, text in (
            ("image_url", fields.image_url),
            ("input_reference.image_url", reference.image_url if reference else None),
        )
        if text and text.strip()
    ]
    if len(addresses) + uploaded > 1:
        raise InvalidRequest(
            "A video can start from only one image, but several are given.", param=addresses[0][1]
        )
    if fields.characters and (addresses or uploaded):
        raise InvalidRequest(
            "A video can start from an image or from a character, not from both.", param="characters"
        )
    return addresses[0] if addresses else None


async def read_fields(
    request: HTTPRequest, model: type[Fields], files: Collection[str], rules: Rules
) -> tuple[Fields, dict[str, UploadFile]]:
    """Read JSON, or a form with brackets in its names: the body as ``model``, and uploads by their name.

    An upload and a value may be given for the same field. An empty text counts as an omitted field, except in
    the client's own metadata.

    Raises:
        InvalidFields: Fields or files are wrong; all of them are named.
        InvalidRequest: The names of a form's fields contradict each other.
        UnsupportedContentType: The body is neither JSON nor a form.
    """
    if request.content_type[0] not in FORMS:
        return unwrap(request, await read_json(request, model, rules), rules), {}
    form = await read_form_values(request, model, files)
    values, uploads, found = split_form(request, form.multi_items(), files)
    found += parse_objects(values)
    body = convert_fields(request, values, model, rules, found=found)
    return unwrap(request, body, rules), uploads
