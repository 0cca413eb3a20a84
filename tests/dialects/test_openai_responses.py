"""OpenAI's responses API with the image tool, by the official SDK."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import requests
from openai import OpenAI
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_output_item import ImageGenerationCall
from PIL import Image
from pydantic import TypeAdapter

from tests.support.decoding import opened
from tests.support.running import RunningServer

TOOL: Any = {"type": "image_generation", "size": "128x96", "seed": 7}
EVENTS: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)


@pytest.fixture(scope="module")
def server(small_server: RunningServer) -> RunningServer:
    return small_server


def images_of(response: Response) -> list[bytes]:
    """The images of a response, which is exactly as the SDK's own model says."""
    Response.model_validate(response.model_dump(mode="json", warnings=False))
    found: list[bytes] = []
    for item in response.output:
        assert isinstance(item, ImageGenerationCall)
        assert item.status == "completed"
        assert item.result is not None
        found.append(base64.b64decode(item.result))
    return found


def data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def message(*parts: dict[str, Any]) -> Any:
    return [{"role": "user", "content": list(parts)}]


def tools(**options: Any) -> Any:
    return [{**TOOL, **options}]


def test_a_prompt(client: OpenAI, server: RunningServer) -> None:
    response = client.responses.create(
        model="gpt-5", input="a boat", tools=[TOOL], metadata={"order": "7"}, user="u", temperature=0.2
    )
    assert (response.status, response.model, response.object) == ("completed", "gpt-5", "response")
    assert response.metadata == {"order": "7"}
    [data] = images_of(response)
    assert opened(data) == ("PNG", (128, 96))
    same = client.images.generate(prompt="a boat", size="128x96", extra_body={"seed": 7})  # pyright: ignore[reportArgumentType]
    assert base64.b64decode((same.data or [])[0].b64_json or "") == data
    raw = requests.post(
        f"{server.url}/v1/responses",
        json={"model": "gpt-5", "input": "a boat", "tools": [TOOL], "temperature": 0.2},
        timeout=60,
    )
    assert "temperature" in raw.headers["Warning"]
    Response.model_validate_json(raw.content, strict=True)


def test_options_of_the_tool(client: OpenAI) -> None:
    tool: Any = {**TOOL, "output_format": "webp", "quality": "low", "n": 2, "moderation": "low"}
    response = client.responses.create(
        input=message({"type": "input_text", "text": "a boat"}),
        tools=[tool],
        tool_choice={"type": "image_generation"},
    )
    first, second = images_of(response)
    assert first != second
    assert opened(first) == opened(second) == ("WEBP", (128, 96))


def test_an_edit_with_a_mask_and_the_next_message(client: OpenAI, photo: Path) -> None:
    mask = Image.new("L", (60, 40), 0)
    mask.paste(255, (0, 0, 30, 40))
    buffer = io.BytesIO()
    mask.save(buffer, "PNG")
    masked: Any = {
        **TOOL,
        "size": "600x400",
        "input_image_mask": {
            "image_url": f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        },
    }
    response = client.responses.create(
        input=message(
            {"type": "input_text", "text": "in oil"},
            {"type": "input_image", "image_url": data_uri(photo), "detail": "auto"},
        ),
        tools=[masked],
    )
    [data] = images_of(response)
    with Image.open(photo) as original, Image.open(io.BytesIO(data)) as made:
        before, after = np.asarray(original.convert("RGB")), np.asarray(made.convert("RGB"))
    assert np.array_equal(before[:, 300:], after[:, 300:])
    # A client that keeps the conversation sends back what it has been given.
    conversation: Any = [
        {"role": "user", "content": "in oil"},
        *(item.model_dump(exclude_none=True) for item in response.output),
        {"role": "user", "content": "darker"},
    ]
    again = client.responses.create(
        input=conversation,
        tools=tools(size="auto"),
    )
    [darker] = images_of(again)
    width, height = opened(darker)[1]
    assert width / height == pytest.approx(1.5, rel=0.02)
    assert isinstance(again.output[0], ImageGenerationCall)
    assert again.output[0].action == "edit"


def test_a_stream(client: OpenAI) -> None:
    with client.responses.stream(model="gpt-5", input="a boat", tools=tools(partial_images=2)) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.image_generation_call.in_progress",
        "response.image_generation_call.generating",
        *["response.image_generation_call.partial_image"] * 2,
        "response.image_generation_call.completed",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(10))
    for event in events:
        EVENTS.validate_python(event.model_dump(mode="json", warnings=False))
    [data] = images_of(final)
    [whole] = images_of(client.responses.create(model="gpt-5", input="a boat", tools=[TOOL]))
    assert data == whole


def test_a_stream_of_several(client: OpenAI) -> None:
    with client.responses.create(input="a boat", tools=tools(n=2), stream=True) as stream:
        *_, last = list(stream)
    assert last.type == "response.completed"
    first, second = images_of(last.response)
    assert first != second


@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        ({"tools": None}, "tools", "image_generation"),
        ({"tools": [{"type": "web_search"}]}, "tools", "image_generation"),
        ({"tool_choice": "none"}, "tool_choice", "image"),
        ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "image"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "not kept"),
        ({"conversation": "conv_1"}, "conversation", "not kept"),
        ({"background": True}, "background", "stream"),
        ({"input": " "}, "input", "prompt"),
        ({"input": []}, "input", "prompt"),
        ({"input": [{"role": "assistant", "content": "hello"}]}, "input", "prompt"),
        (
            {"input": message({"type": "input_text", "text": "x"}, {"type": "input_image", "file_id": "f"})},
            "input",
            "image_url",
        ),
        ({"input": message({"type": "input_file", "file_data": "x"})}, "input", "input_file"),
        (
            {"input": [{"type": "image_generation_call", "id": "ig_1"}, {"role": "user", "content": "x"}]},
            "input",
            "result",
        ),
        ({"tools": [{**TOOL, "action": "edit"}]}, "input", "no image to edit"),
        ({"tools": [{**TOOL, "action": "sing"}]}, "tools[0].action", "sing"),
        ({"tools": [{**TOOL, "output_format": "svg"}]}, "tools[0].output_format", "SVG"),
        ({"tools": [{**TOOL, "background": "transparent"}]}, "tools[0].background", "transparent"),
        ({"tools": [{**TOOL, "size": "big"}]}, "tools[0].size", "1024x1024"),
        ({"tools": [{**TOOL, "model": "sora-2"}]}, "tools[0].model", "not an image model"),
    ],
)
def test_what_it_cant_do_is_named(client: OpenAI, body: dict[str, Any], param: str, word: str) -> None:
    create: Any = client.responses.create
    with pytest.raises(openai.BadRequestError, match=word) as refused:
        create(**{"input": "a boat", "tools": [TOOL], **body})
    assert refused.value.param == param


def test_responses_are_not_kept(client: OpenAI) -> None:
    response = client.responses.create(input="a boat", tools=[TOOL])
    with pytest.raises(openai.NotFoundError, match="not kept"):
        client.responses.retrieve(response.id)
