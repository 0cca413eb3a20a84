"""OpenAI's images API, part by part."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import requests
import schemathesis
from hypothesis import given

from framegate.core.jobs import JobState
from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind, Variant
from tests.support.fuzzing import bounded
from tests.support.http_stand import CONTENT, Stand, StandMaker
from tests.support.openai_contract import OpenAIContract, sdk
from tests.support.running import eventually

pytestmark = pytest.mark.usefixtures("real_images")

POSTS = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations")


class TestContract(OpenAIContract):
    posts = POSTS
    unknown_path = "/v1/images/nothing"


def test_a_failed_job_is_not_tried_again(stand: Stand) -> None:
    with (
        stand.working(failing="The lamp broke."),
        sdk(stand, max_retries=2) as client,
        pytest.raises(openai.InternalServerError, match=r"The lamp broke\.") as failed,
    ):
        client.images.generate(prompt="a boat")
    assert failed.value.type == "server_error"
    assert len(stand.jobs()) == 1


def test_a_job_that_fails_in_a_stream(stand: Stand) -> None:
    with (
        stand.working(failing="The lamp broke."),
        sdk(stand) as client,
        pytest.raises(openai.APIError, match=r"The lamp broke\."),
        client.images.generate(prompt="a boat", stream=True) as stream,
    ):
        list(stream)


def test_a_cancelled_job(stand: Stand) -> None:
    with sdk(stand) as client, client.images.generate(prompt="a boat", stream=True) as stream:
        requests.post(f"{stand.url}/v1/images/generations", data="{", timeout=10)
        (job,) = stand.jobs()
        stand.claim()
        stand.fail(job, "It was stopped.")
        with pytest.raises(openai.APIError, match="It was stopped"):
            list(stream)


@pytest.mark.parametrize("stream", ["false", "true"])
def test_a_disconnect_cancels_the_job(stand: Stand, stream: str) -> None:
    parts = urlsplit(stand.url)
    body = f'{{"prompt": "x", "stream": {stream}}}'.encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        head = f"POST {POSTS[0]} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        job = stand.wait_claim()
    eventually(lambda: stand.job(job.id).cancel_requested, what="the cancel")


def test_the_limit(make_stand: StandMaker) -> None:
    stand = make_stand({"openai-videos": {"image_timeout": 0.05}})
    answer = requests.post(stand.url + POSTS[0], json={"prompt": "x"}, timeout=10)
    assert answer.status_code == 504
    assert [job.state for job in stand.jobs()] == [JobState.CANCELLED]


def test_no_worker(stand: Stand) -> None:
    stand.store.living.clear()
    answer = requests.post(stand.url + POSTS[0], json={"prompt": "x"}, timeout=10)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert stand.jobs() == []


def test_links_behind_a_prefix(make_stand: StandMaker) -> None:
    stand = make_stand({"openai-videos": {"prefix": "/openai"}})
    with stand.working():
        answer = requests.post(
            f"{stand.url}/openai{POSTS[0]}", json={"prompt": "x", "response_format": "url"}, timeout=20
        ).json()
    (item,) = answer["data"]
    assert item["url"].startswith(f"{stand.url}/openai/v1/images/files/")
    link = item["url"]
    assert requests.get(link, timeout=10).content == CONTENT[MediaKind.IMAGE]
    (job,) = stand.jobs()
    stand.artifacts.delete(job.artifacts[0].key)
    gone = requests.get(link, timeout=10)
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, None)


def test_all_files_of_a_job_are_known(stand: Stand) -> None:
    """They are removed with the job."""
    with stand.working(), sdk(stand) as client:
        list(client.images.generate(prompt="a boat", stream=True, partial_images=2))
    (job,) = stand.jobs()
    assert set(job.files) == {
        job.artifacts[0].key,
        *(f"{job.artifacts[0].key}.{variant}" for variant in Variant if variant != Variant.SPRITESHEET),
        *job.partial_image_keys,
        *job.earlier_partial_image_keys,
    }


def test_inputs_of_refused_requests_are_removed(stand: Stand, tmp_path: Path) -> None:
    image = gradient_png(tmp_path / "a.png").read_bytes()
    answer = requests.post(
        stand.url + POSTS[1], data={"prompt": "x", "n": "9"}, files={"image": image}, timeout=10
    )
    # The stand's model makes four at most.
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")
    assert len(stand.media.discarded) == len(stand.media.taken)


@pytest.fixture(scope="module")
def api(shared_stand: Stand) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{shared_stand.url}/openapi.json")
    with shared_stand.working():
        yield schema


@pytest.mark.parametrize("path", [*POSTS, "/v1/images/files/{name}"])
def test_any_request(api: Any, path: str) -> None:
    @bounded
    @given(case=api[path]["GET" if "{" in path else "POST"].as_strategy())
    def send(case: Any) -> None:
        answer = case.call(timeout=20)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert answer.json()["error"].keys() == {"message", "type", "param", "code"}

    send()
