"""Reading what OpenAI's SDKs send: JSON, or a form with brackets in its names."""

from collections.abc import Collection
from typing import Any, TypeVar

import msgspec
from litestar.datastructures import UploadFile
from msgspec import Struct

from framegate.server.errors.field_errors import FieldError, InvalidFields, Rules, value_errors
from framegate.server.requests.bodies import FORMS, HTTPRequest, read_form_values, read_json
from framegate.server.requests.form_nesting import nest

Model = TypeVar("Model", bound=Struct)


async def read_fields(
    request: HTTPRequest, model: type[Model], files: Collection[str], rules: Rules
) -> tuple[Model, dict[str, UploadFile]]:
    """The body as ``model``, and a form's uploads by name; either may say something of the same field. An
    empty text means that its field was left out.

    Raises:
        InvalidFields, UnsupportedContentType, InvalidRequest: with what is wrong.
    """
    if request.content_type[0] not in FORMS:
        return await read_json(request, model, rules), {}
    form = await read_form_values(request)
    texts: list[tuple[str, Any]] = []
    uploads: dict[str, UploadFile] = {}
    found: list[FieldError] = []
    for name, value in form.items():
        if not isinstance(value, UploadFile):
            texts += [(name, value)] if value else []
        elif name not in files:
            found.append(FieldError((name,), "extra_forbidden", "There is no such file field"))
        elif name in uploads:
            found.append(FieldError((name,), "value_error", "This file is given more than once"))
        else:
            uploads[name] = value
    values = nest(texts)
    wrong = {error.location[0] for error in found}
    errors = value_errors(values, model, rules, strict=False)
    found += [error for error in errors if error.location[0] not in wrong]
    if found:
        raise InvalidFields(found)
    body = msgspec.convert(values, model, strict=False)
    request.state.body = body
    return body, uploads
