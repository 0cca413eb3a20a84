"""What the audit log says about downloads and deletions, over a socket."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import structlog

from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, StandMaker, start_stand
from tests.support.result_links import links_of_all
from tests.support.running import eventually

KEY = {"Authorization": "Bearer alice's"}
AUTH = {"keys": [{"name": "alice", "sha256": hashlib.sha256(b"alice's").hexdigest()}]}
ALICE = {"actor": "client", "client": "alice", "address": "127.0.0.1"}
ANYBODY = {"actor": "client", "client": "anonymous", "address": "127.0.0.1"}
Line = MutableMapping[str, Any]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("audited")
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        yield start_stand(
            running,
            folder,
            auth=AUTH,
            links={"expiry": 3600},
            server={"trusted_proxies": ["127.0.0.1"]},
        )


class Log:
    """The lines that were written since the test began."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines

    def audit(self, event: str = "") -> list[Line]:
        """Return the lines of the audit log, each with the id of its request left out."""
        found = [line for line in self.lines if "actor" in line]
        for line in found:
            assert line.pop("log_level", "info") == "info"
            line.pop("request_id", None)
        return [line for line in found if line["event"] == event or not event]

    def wait_for(self, event: str) -> list[Line]:
        """Return the lines once there are any: they are written after the answer is sent."""
        return eventually(lambda: self.audit(event), what=event)


@pytest.fixture
def log() -> Iterator[Log]:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        yield Log(lines)
        text = json.dumps(lines)
    assert "alice's" not in text
    assert "signature" not in text


def call(stand: Stand, path: str, body: Mapping[str, Any], **headers: str) -> Any:
    answer = requests.post(stand.url + path, json=body, headers={**KEY, **headers}, timeout=20)
    assert answer.ok, answer.text
    return answer.json()


def made_video(stand: Stand) -> str:
    video = call(stand, "/v1/videos", {"prompt": "x"})
    stand.run_next()
    return str(video["id"])


def test_downloads_by_link(stand: Stand, log: Log) -> None:
    for dialect, link in links_of_all(stand, KEY).items():
        log.lines.clear()
        got = requests.get(f"{link}&download=1", timeout=10)
        [line] = log.wait_for("result_downloaded")
        name = parse_qs(urlsplit(link).query).get("filename", [urlsplit(link).path.rpartition("/")[2]])[0]
        assert line == {
            "event": "result_downloaded",
            **ANYBODY,
            "job_id": name.partition("_")[0],
            "file": name,
            "delivery": "file",
            "status": 200,
            "bytes": len(got.content),
            "link_expires": int(parse_qs(urlsplit(link).query)["expires"][0]),
        }, dialect


def test_what_a_line_has_in_common_with_the_request_s(stand: Stand, log: Log) -> None:
    video = made_video(stand)
    headers = {**KEY, "X-Request-ID": "my-own-id"}
    requests.get(f"{stand.url}/v1/videos/{video}/content", headers=headers, timeout=10).raise_for_status()
    events = ["result_downloaded", "request"]

    def lines() -> list[Line]:
        return [line for line in log.lines if line.get("request_id") == "my-own-id"]

    eventually(lambda: len(lines()) == len(events), what="both lines")
    assert [line["event"] for line in lines()] == events
    assert {(line["client"], line["job_id"]) for line in lines()} == {("alice", video)}


def test_downloads_with_a_key(stand: Stand, log: Log) -> None:
    video = made_video(stand)
    call(stand, "/v1/tasks/image", {"prompt": "x", "task_id": "cat", "save_result_path": "a/cat.png"})
    image = stand.run_next().id
    size, image_size = len(CONTENT[MediaKind.VIDEO]), len(CONTENT[MediaKind.IMAGE])
    for path, job, file, sent in (
        (f"/v1/videos/{video}/content", video, f"{video}.mp4", size),
        ("/v1/tasks/cat/result", image, "cat.png", image_size),
        ("/v1/files/download/a/cat.png", image, "cat.png", image_size),
    ):
        log.lines.clear()
        requests.get(stand.url + path, headers=KEY, timeout=10).raise_for_status()
        [line] = log.wait_for("result_downloaded")
        assert line == {
            "event": "result_downloaded",
            **ALICE,
            "job_id": job,
            "file": file,
            "delivery": "file",
            "status": 200,
            "bytes": sent,
        }


def test_a_range_is_a_line_and_what_sends_nothing_is_none(stand: Stand, log: Log) -> None:
    url = f"{stand.url}/v1/videos/{made_video(stand)}/content"
    whole = requests.get(url, headers=KEY, timeout=10)
    log.wait_for("result_downloaded")
    log.lines.clear()
    requests.head(url, headers=KEY, timeout=10).raise_for_status()
    kept = requests.get(url, headers={**KEY, "If-None-Match": whole.headers["ETag"]}, timeout=10)
    beyond = requests.get(url, headers={**KEY, "Range": "bytes=99999999-"}, timeout=10)
    refused = requests.get(url, timeout=10)
    missing = requests.get(f"{stand.url}/v1/videos/video_0/content", headers=KEY, timeout=10)
    statuses = [answer.status_code for answer in (kept, beyond, refused, missing)]
    assert statuses == [304, 416, 401, 404]
    requests.get(url, headers={**KEY, "Range": "bytes=10-29"}, timeout=10).raise_for_status()
    [line] = log.wait_for("result_downloaded")
    assert (line["status"], line["bytes"]) == (206, 20)


def test_a_redirect_to_the_bucket(stand: Stand, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    video = made_video(stand)

    def bucket(key: str, *, method: str, seconds: float) -> str:
        return f"https://bucket.example/{key}?X-Amz-Secret={method}{seconds}"

    monkeypatch.setattr(stand.artifacts, "link", bucket)
    url = f"{stand.url}/v1/videos/{video}/content"
    answer = requests.get(url, headers=KEY, timeout=10, allow_redirects=False)
    assert answer.status_code == 307
    [line] = log.wait_for("result_downloaded")
    assert (line["delivery"], line["status"], line["bytes"]) == ("redirect", 307, 0)
    assert "X-Amz-Secret" not in str(log.lines)


def test_results_within_answers(stand: Stand, log: Log) -> None:
    with stand.working():
        predicted = call(stand, "/predict", {"prompt": "x"})
        [line] = log.audit("result_downloaded")
        assert line == {
            "event": "result_downloaded",
            **ALICE,
            "job_id": stand.jobs()[-1].id,
            "delivery": "answer",
            "bytes": len(base64.b64decode(predicted["video_base64"])),
        }
        for path, body, images in (
            ("/v1/images/generations", {"prompt": "x", "n": 2, "model": "gpt-image-1"}, 1),
            ("/v1/responses", {"input": "x", "tools": [{"type": "image_generation"}]}, 1),
        ):
            log.lines.clear()
            call(stand, path, body)
            lines = log.audit("result_downloaded")
            assert len(lines) == images, path
            for line in lines:
                assert line.pop("bytes") > 100
                assert line == {
                    "event": "result_downloaded",
                    **ALICE,
                    "job_id": stand.jobs()[-1].id,
                    "delivery": "answer",
                }
        log.lines.clear()
        image = requests.post(
            f"{stand.url}/v1/tasks/image/sync", json={"prompt": "x"}, headers=KEY, timeout=20
        )
        [line] = log.wait_for("result_downloaded")
        assert (line["client"], line["bytes"]) == ("alice", len(image.content))
        log.lines.clear()
        requests.post(
            f"{stand.url}/v1/images/generations",
            json={"prompt": "x", "stream": True, "model": "gpt-image-1"},
            headers=KEY,
            timeout=20,
        ).raise_for_status()
        [line] = log.audit("result_downloaded")
        assert (line["client"], line["delivery"]) == ("alice", "answer")


def test_deletions_and_cancellations(stand: Stand, log: Log) -> None:
    video = made_video(stand)
    log.lines.clear()
    requests.delete(f"{stand.url}/v1/videos/{video}", headers=KEY, timeout=10).raise_for_status()
    assert log.audit() == [
        {
            "event": "job_deleted",
            **ALICE,
            "job_id": video,
            "owner": "alice",
            "dialect": "openai-videos",
            "state": "succeeded",
        }
    ]
    call(stand, "/v1/tasks/video", {"prompt": "x", "task_id": "dog"})
    submitted = call(
        stand, "/video/submit", {"prompt": "a boat at dawn", "image_url": "https://example.com/a.png"}
    )
    log.lines.clear()
    for _ in range(2):  # the second one finds nothing to do
        requests.delete(f"{stand.url}/v1/tasks/dog", headers=KEY, timeout=10).raise_for_status()
    call(stand, "/video/cancel", submitted)
    assert [(line["event"], line["client"], line["dialect"]) for line in log.audit()] == [
        ("job_cancelled", "alice", "lightx2v"),
        ("job_cancelled", "alice", "wan21-submit"),
    ]


def test_a_client_that_leaves(stand: Stand, log: Log) -> None:
    parts, before = urlsplit(stand.url), len(stand.jobs())
    body = b'{"prompt":"x"}'
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice's\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        eventually(lambda: len(stand.jobs()) > before, what="the job")
    [line] = log.wait_for("job_cancelled")
    assert (line["client"], line["job_id"]) == ("alice", stand.jobs()[-1].id)


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, "127.0.0.1"),
        ({"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
        ({"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}, "203.0.113.7"),
        ({"X-Forwarded-For": "198.51.100.1, [2001:db8::7]:4711, 127.0.0.1"}, "2001:db8::7"),
        ({"X-Forwarded-For": "203.0.113.7:80", "Forwarded": "for=198.51.100.1"}, "203.0.113.7"),
        ({"Forwarded": 'for="[2001:db8::7]:80";proto=https'}, "2001:db8::7"),
        ({"X-Forwarded-For": "unknown"}, "127.0.0.1"),
        ({"X-Forwarded-For": "]0;title"}, "127.0.0.1"),
        ({"X-Forwarded-For": "::ffff:203.0.113.7"}, "203.0.113.7"),
    ],
)
def test_the_address_is_the_client_s(
    stand: Stand, log: Log, headers: Mapping[str, str], address: str
) -> None:
    video = call(stand, "/v1/videos", {"prompt": "x"})["id"]
    requests.delete(f"{stand.url}/v1/videos/{video}", headers={**KEY, **headers}, timeout=10)
    assert [line["address"] for line in log.audit("job_deleted")] == [address]


def test_an_address_with_control_characters_is_not_valid_http(stand: Stand, log: Log) -> None:
    video = call(stand, "/v1/videos", {"prompt": "x"})["id"]
    headers = {**KEY, "X-Forwarded-For": "\x1b]0;title\x07"}
    answer = requests.delete(f"{stand.url}/v1/videos/{video}", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert not log.audit("job_deleted")


def test_addresses_of_proxies_that_are_not_trusted(make_stand: StandMaker, log: Log) -> None:
    stand = make_stand()
    video = call(stand, "/v1/videos", {"prompt": "x"}, X_Forwarded_For="203.0.113.7")["id"]
    headers = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7"}
    requests.delete(f"{stand.url}/v1/videos/{video}", headers=headers, timeout=10).raise_for_status()
    [line] = log.audit("job_deleted")
    assert (line["client"], line["address"]) == ("anonymous", "127.0.0.1")
