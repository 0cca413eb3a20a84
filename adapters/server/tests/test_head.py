"""HEAD is answered wherever GET is, with the same status and headers."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, start_stand

KEY = {"Authorization": "Bearer alice's"}
CHANGING = ("date", "x-request-id")


@pytest.fixture(scope="module")
def stand_and_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stand, str]]:
    digest = hashlib.sha256(b"alice's").hexdigest()
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("head")
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        key = {"name": "alice", "sha256": digest, "scopes": ["submit", "read", "admin"]}
        stand = start_stand(running, folder, auth={"keys": [key]})
        post: dict[str, Any] = {"headers": KEY, "timeout": 10}
        for path, body in (
            ("/v1/tasks/image", {"prompt": "x", "task_id": "cat"}),
            ("/v1/videos", {"prompt": "x"}),
            ("/v1/images/generate", {"prompt": "x", "async_mode": True}),
            ("/video/submit", {"prompt": "a boat at dawn", "image_url": "https://example.com/a.png"}),
        ):
            requests.post(stand.url + path, json=body, **post).raise_for_status()
            stand.run_next()
        with stand.working():
            call = {"prompt": "x", "response_format": "url", "model": "gpt-image-1"}
            made = requests.post(f"{stand.url}/v1/images/generations", json=call, **post)
        link: str = made.json()["data"][0]["url"]
        image = urlsplit(link).path
        yield stand, image


@pytest.fixture
def stand(stand_and_image: tuple[Stand, str]) -> Stand:
    return stand_and_image[0]


@pytest.fixture
def paths(stand_and_image: tuple[Stand, str]) -> list[str]:
    """Return a path for each GET of the OpenAPI document, and the pages, with ids that exist."""
    stand, image = stand_and_image
    ids = {job.dialect: job.id for job in reversed(stand.jobs())}
    document = requests.get(f"{stand.url}/openapi.json", timeout=10).json()
    found = [path for path, operations in document["paths"].items() if "get" in operations]
    video = f"{ids['wan21-submit']}_1.mp4"
    names = {
        "/v1/tasks/{task_id}": f"/v1/tasks/task_{ids['sora2api']}",
        "/v1/images/files/{name}": image,
        "/v1/models/{model_id}": "/v1/models/sora-2",
        "/v1/files/{name}": f"/v1/files/{ids['sora2api']}_1.png",
        "/videos/{name}": f"/videos/{video}",
        "/admin/keys/{name}": "/admin/keys/alice",
        "/api/v1/admin/keys/{name}": "/api/v1/admin/keys/alice",
        "/v1/files/download/{file_path}": "/v1/files/download/outputs/images/cat.png",
    }
    found = [names.get(path, path).replace("{task_id}", "cat") for path in found]
    found = [path.replace("{video_id}", ids["openai-videos"]) for path in found]
    found = [path.replace("{job_id}", ids["sora2api"]).replace("{number}", "0") for path in found]
    pages = ["/", "/predict-page/page.js", "/docs", "/docs/", "/docs/docs.js", "/docs/swagger-ui.css"]
    return [*found, *pages, "/openapi.json", "/docs/schema/openapi.json", "/nothing", "/v1/videos?order=up"]


def seen(answer: requests.Response) -> tuple[int, dict[str, str]]:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return answer.status_code, {name: value for name, value in headers.items() if name not in CHANGING}


def test_the_same_status_and_headers(stand: Stand, paths: list[str]) -> None:
    statuses: dict[str, int] = {}
    for path in paths:
        for headers in (KEY, {}, {**KEY, "Origin": "https://example.com"}, {**KEY, "If-None-Match": "*"}):
            url: dict[str, Any] = {"url": stand.url + path, "headers": headers, "allow_redirects": False}
            got = requests.get(**url, timeout=10)
            head = requests.head(**url, timeout=10)
            assert seen(head) == seen(got), (path, headers)
            assert head.content == b""
            statuses.setdefault(path, got.status_code)
    assert len(statuses) > 25
    refused = {path: status for path, status in statuses.items() if status not in (200, 302)}
    partial = next(path for path in paths if path.endswith("/partial/0"))
    missing = (partial, "/nothing", "/v1/videos/characters/{character_id}", "/v1/responses/{response_id}")
    assert refused == {**dict.fromkeys(missing, 404), "/v1/videos?order=up": 400, "/view": 400}


def test_methods_are_listed(stand: Stand) -> None:
    for path, method in (
        ("/v1/videos", "PUT"),
        ("/health", "POST"),
        ("/docs", "DELETE"),
        ("/v1/models", "PUT"),
    ):
        options = requests.options(stand.url + path, timeout=10).headers["Allow"]
        refused = requests.request(method, stand.url + path, headers=KEY, timeout=10)
        assert refused.status_code == 405
        for listed in (options, refused.headers["Allow"]):
            assert {"GET", "HEAD", "OPTIONS"} <= set(listed.split(", "))
    no_get = requests.head(f"{stand.url}/v1/chat/completions", headers=KEY, timeout=10)
    assert (no_get.status_code, no_get.headers["Allow"]) == (405, "POST, OPTIONS")


def test_a_connection_goes_on_after_it(stand: Stand) -> None:
    parts = urlsplit(stand.url)
    call = f"HEAD /health HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n"
    last = call.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as client:
        client.sendall((call + last).encode())
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.count(b"HTTP/1.1 200 OK") == 2
    assert received.endswith(b"\r\n\r\n")
    assert b"{" not in received
