"""openai-videos: what is sent twice is made once."""

# pyright: reportDeprecated=false
# The SDK calls this API deprecated, since OpenAI no longer hosts it.

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
import requests
from openai import OpenAI
from openai.types.video import Video

from tests.dialects.losing_answers import losing_answers
from tests.support.running import RunningServer
from tests.support.small_models import KEYS

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

SMALL = {"size": "128x96", "seconds": "1", "prompt": "a boat"}
ALICE, BOB = KEYS["alice"], KEYS["bob"]


@pytest.fixture(scope="module")
def server(guarded_server: RunningServer) -> RunningServer:
    return guarded_server


def all_ids(server: RunningServer, key: str = ALICE) -> list[str]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=key) as client:
        return [video.id for video in client.videos.list()]


@pytest.mark.parametrize("losses", [1, 2])
def test_a_retried_create_makes_one_job(server: RunningServer, photo: Path, losses: int) -> None:
    before = all_ids(server)
    with (
        losing_answers(server.url, losses) as (url, seen),
        OpenAI(base_url=f"{url}/v1", api_key=ALICE, timeout=60) as client,
    ):
        video = client.videos.create(
            prompt="a boat",
            input_reference=photo,
            extra_body={"size": "128x96", "seconds": "1", "fps": 10 + losses},
        )
        assert seen == [str(number) for number in range(losses + 1)]
        assert all_ids(server) == [video.id, *before]
        # The same once more is another request, not a retry.
        again = client.videos.create(
            prompt="a boat",
            input_reference=photo,
            extra_body={"size": "128x96", "seconds": "1", "fps": 10 + losses},
        )
        assert again.id != video.id
    assert all_ids(server) == [again.id, video.id, *before]


def test_retried_remixes_and_edits(server: RunningServer) -> None:
    with OpenAI(base_url=f"{server.url}/v1", api_key=ALICE) as direct:
        source = direct.videos.create_and_poll(prompt="a boat", extra_body=SMALL)
        data = direct.videos.download_content(source.id).read()
    calls: list[Callable[[OpenAI], Video]] = [
        lambda client: client.videos.remix(source.id, prompt="at night"),
        lambda client: client.videos.edit(prompt="in blue", video=data),
        lambda client: client.videos.extend(prompt="on", seconds="4", video=data),
    ]
    for call in calls:
        before = all_ids(server)
        with (
            losing_answers(server.url, 1) as (url, _),
            OpenAI(base_url=f"{url}/v1", api_key=ALICE, timeout=60) as client,
        ):
            video = call(client)
        assert all_ids(server) == [video.id, *before]


def send(server: RunningServer, key: str = ALICE, *, fields: dict[str, Any] = SMALL, **headers: str) -> str:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = requests.post(
        f"{server.url}/v1/videos",
        json=fields,
        headers={"Authorization": f"Bearer {key}", **named},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_who_says_nothing_of_retries_means_each(server: RunningServer) -> None:
    assert send(server) != send(server)


def test_retries_are_their_key_s_own(server: RunningServer) -> None:
    first = send(server, x_stainless_retry_count="0")
    assert send(server, BOB, x_stainless_retry_count="1") != first
    assert send(server, x_stainless_retry_count="1") == first
    assert send(server, fields={**SMALL, "seed": 1}, x_stainless_retry_count="1") != first


def test_a_retry_that_overtakes(server: RunningServer) -> None:
    """The first sending is still on its way when the client gives up and sends it again."""
    fields = {**SMALL, "seed": 99}
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    body = ("".join(parts) + "--x--\r\n").encode()
    address = urlsplit(server.url).netloc
    with closing(HTTPConnection(address, timeout=60)) as connection:
        connection.putrequest("POST", "/v1/videos")
        connection.putheader("Authorization", f"Bearer {ALICE}")
        connection.putheader("Content-Type", "multipart/form-data; boundary=x")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("X-Stainless-Retry-Count", "0")
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        # The server sends it when it begins to read the body.
        assert connection.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
        retry = send(server, fields=fields, x_stainless_retry_count="1")
        connection.send(body)
        answer = connection.getresponse()
        assert answer.status == 200
        assert json.load(answer)["id"] == retry


def test_a_hundred_equal_keys_at_once(server: RunningServer) -> None:
    before = all_ids(server)
    with ThreadPoolExecutor(100) as pool:
        sending = [pool.submit(send, server, idempotency_key="order-100") for _ in range(100)]
    assert [*{sent.result() for sent in sending}, *before] == all_ids(server)


def test_idempotency_keys(server: RunningServer) -> None:
    first = send(server, idempotency_key="order-1")
    assert send(server, idempotency_key="order-1") == first
    assert send(server, BOB, idempotency_key="order-1") != first
    assert send(server, idempotency_key="order-2") != first
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=ALICE, max_retries=2) as client,
        pytest.raises(openai.ConflictError) as other,
    ):
        client.videos.create(prompt="a house", extra_headers={"Idempotency-Key": "order-1"})
    assert other.value.response.headers["x-should-retry"] == "false"
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key=ALICE) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.videos.create(prompt="a house", extra_headers={"Idempotency-Key": "x" * 300})
