"""Reading the forms of OpenAI's images API: fields as text, ``image`` once or ``image[]`` several times."""

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from litestar.datastructures import UploadFile
from msgspec import Struct

from framegate.server.dialects.openai.images.convert import rules
from framegate.server.errors.field_errors import FieldError, InvalidFields, value_errors
from framegate.server.requests.bodies import HTTPRequest, read_form_values, upload_bytes

MOST_PICTURES = 16
_PICTURES = ("image", "image[]")

Model = TypeVar("Model", bound=Struct)


class Uploads(Struct, frozen=True):
    images: Sequence[bytes]
    mask: bytes | None


async def read_form(
    request: HTTPRequest, model: type[Model], max_bytes: int, *, several: bool
) -> tuple[Model, Uploads]:
    """Raises:
    InvalidFields, InvalidMedia, UnsupportedContentType: with what is wrong.
    """
    form = await read_form_values(request)
    texts: dict[str, str] = {}
    images: list[UploadFile] = []
    masks: list[UploadFile] = []
    found: list[FieldError] = []
    for name, value in form.multi_items():
        if not isinstance(value, UploadFile):
            if name in texts:
                found.append(FieldError((name,), "value_error", "This field is given more than once"))
            if value:  # an empty text means that the field was left out
                texts[name] = value
        elif name in _PICTURES:
            images.append(value)
        elif name == "mask" and several:
            masks.append(value)
        else:
            found.append(FieldError((name,), "extra_forbidden", "There is no such file field"))
    found += _file_errors(texts, images, masks, most=MOST_PICTURES if several else 1)
    wrong = {error.location[0] for error in found}
    errors = value_errors(texts, model, rules, strict=False)
    found += [error for error in errors if error.location[0] not in wrong]
    if found:
        raise InvalidFields(found)
    fields = msgspec.convert(texts, model, strict=False)
    request.state.body = fields
    return fields, Uploads(
        [await upload_bytes(upload, "image", max_bytes) for upload in images],
        await upload_bytes(masks[0], "mask", max_bytes) if masks else None,
    )


def _file_errors(
    texts: dict[str, str], images: Sequence[Any], masks: Sequence[Any], *, most: int
) -> list[FieldError]:
    found = [
        FieldError((name,), "file_type", "This should be an uploaded file")
        for name in (*_PICTURES, "mask")
        if texts.pop(name, None) is not None
    ]
    if not images and not found:
        found.append(FieldError(("image",), "missing", "This file is required"))
    if len(images) > most:
        found.append(FieldError(("image",), "too_long", f"At most {most} of them are taken", len(images)))
    if len(masks) > 1:
        found.append(FieldError(("mask",), "too_long", "At most one of them is taken", len(masks)))
    return found
