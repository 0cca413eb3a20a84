"""Turn the bodies of OpenAI's responses API into calls for images."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

from framegate.core.errors import InvalidRequest
from framegate.core.ports import Base64Source, FileSource
from framegate.server.dialects.openai.chat.parts import parts_of_last
from framegate.server.dialects.openai.chat.schemas import ChatMessage
from framegate.server.dialects.openai.fields import require_readable
from framegate.server.dialects.openai.images.requests import MAX_IMAGES, Inputs, image_source, rules
from framegate.server.dialects.openai.images.schemas import EditFields, GenerateFields, ImageReference
from framegate.server.dialects.openai.responses.schemas import CreateResponse
from framegate.server.errors.field_errors import InvalidFields, shortened, value_errors
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.media import media_source
from framegate.server.requests.unknown_fields import note_ignored_fields

TOOL = "image_generation"
Action: TypeAlias = Literal["generate", "edit"]

_SUPPORTED = (
    'POST /v1/responses makes images here, and nothing else: send tools with {"type": "image_generation"}, '
    "and a prompt as input."
)
_STATEFUL = ("conversation", "previous_response_id")
_OWN = frozenset({"type", "action", "input_image_mask", "prompt", "stream", "metadata", "response_format"})
"""The fields of a tool that aren't those of a call for images, and those that have another place here."""


class ImageTool(Struct, frozen=True):
    """A call for images, with or without images to start from.

    ``tool`` is as the client sent it, at the place ``param`` of the body.
    """

    param: str
    tool: Mapping[str, Any]
    fields: GenerateFields | EditFields
    inputs: Inputs | None

    @property
    def action(self) -> Action:
        """Whether it starts from images."""
        return "generate" if self.inputs is None else "edit"

    @property
    def shown(self) -> dict[str, Any]:
        """What answers repeat of ``tool``: its known fields, shortened."""
        known = {info.encode_name for info in fields(type(self.fields))} | _OWN
        return {name: shortened(value) for name, value in self.tool.items() if name in known}


def image_tool(request: HTTPRequest, body: CreateResponse, default_model: str | None) -> ImageTool:
    """Return the call for images that a response makes.

    ``default_model`` is the image model of a tool that names none; None for the dialect's.

    Raises:
        InvalidRequest: It calls for something else, refers to what is not kept here, or has no prompt.
        InvalidFields: The tool's fields are wrong.
    """
    _refuse_state(body)
    if body.instructions:
        note_ignored_fields(request, ["instructions"])
    index, tool = _find_tool(request, body)
    prompt, images = _read_input(body.input)
    action = tool.get("action") or "auto"
    if action not in ("auto", "generate", "edit"):
        raise InvalidRequest(
            f"The action {str(action)[:50]!r} is unknown; use auto, generate or edit.",
            param=f"tools[{index}].action",
        )
    if action == "edit" and not images:
        raise InvalidRequest("There is no image to edit: send one as input_image.", param="input")
    if action == "generate":
        images = ()
    if len(images) > MAX_IMAGES:
        raise InvalidRequest(
            f"The input has {len(images)} images; at most {MAX_IMAGES} are accepted.", param="input"
        )
    call = _call(request, tool, index, EditFields if images else GenerateFields)
    call = replace(
        call,
        prompt=prompt,
        model=call.model or default_model,
        stream=body.stream,
        metadata=body.metadata,
    )
    mask = _mask(tool, index) if images else None
    return ImageTool(f"tools[{index}]", tool, call, Inputs(images, mask) if images else None)


def _refuse_state(body: CreateResponse) -> None:
    for name in _STATEFUL:
        if getattr(body, name) is not None:
            raise InvalidRequest(
                "Responses are not kept here; send the earlier messages and images in input.", param=name
            )
    if body.background:
        raise InvalidRequest(
            "Responses are not kept here, so they can't be made in the background; use stream, or wait.",
            param="background",
        )


def _find_tool(request: HTTPRequest, body: CreateResponse) -> tuple[int, Mapping[str, Any]]:
    """Return the image tool and its place; other tools are ignored."""
    found: tuple[int, Mapping[str, Any]] | None = None
    for index, tool in enumerate(body.tools or ()):
        if isinstance(tool, dict) and tool.get("type") == TOOL and found is None:  # pyright: ignore[reportUnknownMemberType] # plain JSON
            found = index, cast("dict[str, Any]", tool)
        else:
            note_ignored_fields(request, [f"tools[{index}]"])
    if found is None:
        raise InvalidRequest(_SUPPORTED, param="tools")
    choice = body.tool_choice
    kind = cast("dict[str, Any]", choice).get("type") if isinstance(choice, dict) else choice
    if kind not in (None, "auto", "required", TOOL, "allowed_tools"):
        raise InvalidRequest(
            f'tool_choice leaves out the image tool. {_SUPPORTED} Use "auto", "required" or '
            '{"type": "image_generation"} as tool_choice.',
            param="tool_choice",
        )
    return found


def _call(
    request: HTTPRequest, tool: Mapping[str, Any], index: int, model: type[GenerateFields] | type[EditFields]
) -> GenerateFields | EditFields:
    known = {info.encode_name for info in fields(model)} - _OWN
    note_ignored_fields(
        request, [f"tools[{index}].{name}" for name in tool if name not in known and name not in _OWN]
    )
    values = {name: value for name, value in tool.items() if name in known and value is not None}
    values["prompt"] = "an image"  # it is checked apart, and belongs to another field
    if found := value_errors(values, model, rules):
        raise InvalidFields(replace(error, location=("tools", index, *error.location)) for error in found)
    return msgspec.convert(values, model)


def _mask(tool: Mapping[str, Any], index: int) -> FileSource | None:
    values = {"mask": tool.get("input_image_mask")}
    if values["mask"] is None:
        return None
    location = ("tools", index, "input_image_mask")
    if found := value_errors(values, _Mask):
        raise InvalidFields(replace(error, location=(*location, *error.location[1:])) for error in found)
    return image_source(msgspec.convert(values, _Mask).mask, f"tools[{index}].input_image_mask")


class _Mask(Struct):
    mask: ImageReference


def _read_input(given: str | Sequence[Any]) -> tuple[str, tuple[FileSource, ...]]:
    """Return the last message's text and images, or the last image that the assistant has made."""
    if isinstance(given, str):
        text, images = given, tuple[str, ...]()
        made: FileSource | None = None
    else:
        items = [cast("dict[str, Any]", item) for item in given if isinstance(item, dict)]
        _refuse_file_ids(items)
        messages = [
            ChatMessage(str(item.get("role")), item.get("content"))
            for item in items
            if item.get("type", "message") == "message"
        ]
        try:
            parts = parts_of_last(messages, "user")
        except InvalidRequest as error:
            error.param = "input"
            error.message = error.message.replace("messages:", "input:")
            raise
        text, images = (parts.text, parts.images) if parts else ("", ())
        made = _last_made(items)
    require_readable(text, "input")
    if not text.strip():
        raise InvalidRequest(
            "The input has no prompt: send a text, or a message of the role user with an input_text.",
            param="input",
        )
    if images:
        return text, tuple(media_source(image, "input") for image in images)
    return text, (made,) if made else ()


def _last_made(items: Sequence[Mapping[str, Any]]) -> FileSource | None:
    """Return the last image among the calls that a client sends back with its next message."""
    calls = [item for item in items if item.get("type") == "image_generation_call"]
    if not calls:
        return None
    result = calls[-1].get("result")
    if not isinstance(result, str) or not result:
        raise InvalidRequest(
            "Responses are not kept here: an image_generation_call in input needs its result, as base64.",
            param="input",
        )
    return Base64Source(result)


def _refuse_file_ids(items: Sequence[Mapping[str, Any]]) -> None:
    for item in items:
        content: object = item.get("content")
        parts = cast("list[object]", content) if isinstance(content, list) else []
        if any(isinstance(part, dict) and cast("dict[str, Any]", part).get("file_id") for part in parts):
            raise InvalidRequest(
                "This server has no files API and keeps no files: send the image as image_url, an http(s) "
                "URL or a data URI.",
                param="input",
            )
