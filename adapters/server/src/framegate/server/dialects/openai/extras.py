"""Fields that hold others: ``extra_body`` and ``extra_params``, and the client's own ``metadata``."""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from litestar.datastructures import UploadFile
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, asdict, fields

from framegate.server.errors.field_errors import FieldError, InvalidFields, Rules, shortened, value_errors
from framegate.server.requests.bodies import FORMS, HTTPRequest, unknown_files
from framegate.server.requests.form_nesting import nest
from framegate.server.requests.unknown_fields import note_ignored_fields

HOLDERS = ("extra_body", "extra_params")
"""Fields that hold others: some SDKs and servers document them as literal fields of the body."""

METADATA = "metadata"
"""The field, and the label in which a job keeps it, as JSON."""

Extras: TypeAlias = Annotated[
    dict[str, Any],
    Meta(description="Further fields, as if they were given beside it; unknown ones are ignored"),
]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16, description="Notes of the client, which the answers repeat"),
]

UserId: TypeAlias = Annotated[str, Meta(max_length=512)]


class ExtraFields(Struct, forbid_unknown_fields=True, kw_only=True):
    """The fields of every call that can hold others. In a form, each may be a JSON object as text."""

    extra_body: Extras | None = None
    extra_params: Extras | None = None
    metadata: Metadata | None = None
    user: UserId | None = None
    safety_identifier: UserId | None = None


Fields = TypeVar("Fields", bound=ExtraFields)


def split_form(
    request: HTTPRequest, items: Iterable[tuple[str, Any]], files: Collection[str]
) -> tuple[dict[str, Any], dict[str, UploadFile], list[FieldError]]:
    """Return a form's texts, nested as their names say, and those of ``files`` that it has.

    An empty text counts as left out, except in the metadata. What is wrong with the files is returned too.

    Raises:
        InvalidRequest: The names of the texts contradict each other.
    """
    texts: list[tuple[str, Any]] = []
    uploads: dict[str, UploadFile] = {}
    found: list[FieldError] = []
    for name, value in items:
        if not isinstance(value, UploadFile):
            texts += [(name, value)] if value != "" or name.startswith(f"{METADATA}[") else []
        elif name not in files:
            found += unknown_files(request, [name])
        elif name in uploads:
            found.append(FieldError((name,), "value_error", "This file is given more than once"))
        else:
            uploads[name] = value
    return nest(texts), uploads, found


def parse_objects(texts: dict[str, Any]) -> list[FieldError]:
    """Replace those of a form's fields that are JSON objects (or null) as text; return what is wrong."""
    found: list[FieldError] = []
    for name in (*HOLDERS, METADATA):
        text = texts.get(name)
        if not isinstance(text, str):
            continue
        try:
            texts[name] = msgspec.json.decode(text, type=dict[str, Any] | None)
        except (msgspec.DecodeError, RecursionError):
            message = "This should be a JSON object, or fields such as " + f"{name}[name]"
            found.append(FieldError((name,), "json_invalid", message, shortened(text)))
            del texts[name]
    return found


def unwrap(request: HTTPRequest, body: Fields, rules: Rules | None = None) -> Fields:
    """Return ``body`` with the fields that its ``extra_body`` and ``extra_params`` hold.

    Fields that the body doesn't have are ignored, and named in the response's Warning header.

    Raises:
        InvalidFields: Fields are wrong, or are given twice with different values.
    """
    held: dict[str, dict[str, Any]] = {holder: getattr(body, holder) or {} for holder in HOLDERS}
    if not any(held.values()):
        return body
    strict = request.content_type[0] not in FORMS
    known = {info.encode_name: info for info in fields(type(body))}
    values = {
        name: value for name, value in asdict(body).items() if value is not None and name not in HOLDERS
    }
    found: list[FieldError] = []
    for holder, extras in held.items():
        for name, value in extras.items():
            if name not in known or name in HOLDERS:
                note_ignored_fields(request, [f"{holder}.{name}"])
            elif value is None:
                continue
            elif name in values and not _equal(values[name], value, known[name], strict):
                message = f"This conflicts with {name}; give only one of them"
                found.append(FieldError((holder, name), "value_error", message, shortened(value)))
            else:
                values.setdefault(name, value)
    plain: Mapping[str, Any] = msgspec.to_builtins(values)
    found += value_errors(plain, type(body), rules, strict=strict)
    if found:
        raise InvalidFields(found)
    unwrapped = msgspec.convert(plain, type(body), strict=strict)
    request.state.body = unwrapped
    return unwrapped


def _equal(given: Any, value: Any, info: FieldInfo, strict: bool) -> bool:
    """Return whether two values, each of which may be converted already, are the same for a field."""
    try:
        first, second = (
            msgspec.convert(msgspec.to_builtins(each), info.type, strict=strict) for each in (given, value)
        )
    except msgspec.ValidationError:
        return False
    return bool(first == second)


def metadata_labels(metadata: Metadata | None) -> dict[str, str]:
    """Return the labels in which a job keeps the client's metadata."""
    return {METADATA: msgspec.json.encode(metadata).decode()} if metadata is not None else {}


def metadata_of(labels: Mapping[str, str]) -> dict[str, str] | None:
    """Return the metadata that a job's labels hold, None if its client gave none."""
    text = labels.get(METADATA)
    return None if text is None else msgspec.json.decode(text, type=dict[str, str])
