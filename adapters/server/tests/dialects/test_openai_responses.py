"""OpenAI's responses API, part by part."""

from typing import Any

import openai
import pytest
import requests

from framegate.core.jobs import JobState
from framegate.core.ports import UrlSource
from framegate.core.types import Task
from tests.support.http_stand import BROKEN, Stand
from tests.support.openai_contract import OpenAIContract, sdk
from tests.support.running import eventually

pytestmark = pytest.mark.usefixtures("real_images")

TOOLS: Any = [{"type": "image_generation"}]
LINKS = tuple(f"https://example.com/{name}.png" for name in ("a", "b", "mask"))


class TestContract(OpenAIContract):
    posts = ("/v1/responses",)
    unknown_path = "/v1/responses/a/b"


def test_a_job_that_fails_in_a_stream(stand: Stand) -> None:
    with (
        stand.working(failing="The lamp broke."),
        sdk(stand) as client,
        client.responses.create(input="a boat", tools=TOOLS, stream=True) as stream,
    ):
        *_, last = list(stream)
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert last.response.error.message == "The lamp broke."


def test_a_job_that_fails(stand: Stand) -> None:
    with (
        stand.working(failing="The lamp broke."),
        sdk(stand, max_retries=2) as client,
        pytest.raises(openai.InternalServerError, match=r"The lamp broke\."),
    ):
        client.responses.create(input="a boat", tools=TOOLS)
    assert len(stand.jobs()) == 1


def test_a_stream_that_is_left_cancels_its_job(stand: Stand) -> None:
    with sdk(stand) as client, client.responses.create(input="a boat", tools=TOOLS, stream=True) as stream:
        assert next(iter(stream)).type == "response.created"
    [job] = stand.jobs()
    eventually(lambda: stand.job(job.id).state == JobState.CANCELLED, what="the cancel")


def test_what_the_tool_asks_for(stand: Stand) -> None:
    first, second, mask = LINKS
    content = [
        {"type": "input_text", "text": "in oil"},
        {"type": "input_text", "text": "and gold"},
        *({"type": "input_image", "image_url": link} for link in (first, second)),
    ]
    tool = {
        "type": "image_generation",
        "model": "dall-e-3",
        "input_image_mask": {"image_url": mask},
        "output_format": "jpeg",
        "output_compression": 40,
        "strength": 0.5,
        "unknown": 1,
        "partial_images": 2,
    }
    earlier = {"role": "user", "content": "something else"}
    with stand.working():
        answer = requests.post(
            f"{stand.url}/v1/responses",
            json={"input": [earlier, {"role": "user", "content": content}], "tools": [tool, {"type": "mcp"}]},
            timeout=20,
        )
    assert answer.status_code == 200, answer.text
    for ignored in ("tools[0].unknown", "tools[1]"):
        assert ignored in answer.headers["Warning"]
    [job] = stand.jobs()
    request = job.request
    assert (request.task, request.prompt) == (Task.IMAGE_TO_IMAGE, "in oil\nand gold")
    assert (job.model, request.strength, request.num_partial_images) == ("dall-e-3", 0.5, 0)
    assert (job.labels["output_format"], job.labels["output_compression"]) == ("jpeg", "40")
    assert stand.media.taken == [UrlSource(link) for link in LINKS]
    [item] = answer.json()["output"]
    assert (item["action"], item["output_format"]) == ("edit", "jpeg")


def test_an_image_model_as_the_response_s_own(stand: Stand) -> None:
    for model, expected in (
        ("gpt-image-1", "gpt-image-1"),
        ("gpt-5", "gpt-image-2"),
        ("sora-2", "gpt-image-2"),
    ):
        with stand.working():
            requests.post(
                f"{stand.url}/v1/responses",
                json={"model": model, "input": "a boat", "tools": TOOLS},
                timeout=20,
            ).raise_for_status()
        assert stand.jobs()[-1].model == expected


def test_an_image_that_cant_be_fetched(stand: Stand) -> None:
    content = [{"type": "input_text", "text": "x"}, {"type": "input_image", "image_url": BROKEN}]
    refused = requests.post(
        f"{stand.url}/v1/responses",
        json={"input": [{"role": "user", "content": content}], "tools": TOOLS},
        timeout=20,
    )
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")
    assert stand.jobs() == []
