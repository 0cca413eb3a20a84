"""lightx2v's masks, and its uploads to presigned URLs."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
import structlog

from framegate.core.ports import Base64Source, BytesSource, UrlSource
from framegate.core.types import MediaKind
from tests.support.http_stand import BROKEN, CONTENT, Stand, StandMaker
from tests.support.lightx2v_client import refusal, status
from tests.support.quiet_handler import Quiet

IMAGE = {"image_path": "https://example.com/cat.png"}
SIGNED = "/bucket/a%2Fb.png?X-Amz-Signature=5ecre7%2B&X=%7E"
ALLOWED = {"fetch": {"allow": ["127.0.0.1"]}}


class Bucket:
    """Takes uploads on loopback, and answers each with the next of ``statuses``, 200 once there is none."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.puts: list[tuple[str, str | None, bytes]] = []
        bucket = self

        class Handler(Quiet, BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bucket.puts.append((self.path, self.headers["Content-Type"], body))
                self.send_response(bucket.statuses.pop(0) if bucket.statuses else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}{SIGNED}"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    bucket = Bucket()
    thread = threading.Thread(target=bucket.server.serve_forever, args=(0.02,))
    thread.start()
    yield bucket
    bucket.server.shutdown()
    bucket.server.server_close()
    thread.join()


def sync(stand: Stand, **fields: Any) -> requests.Response:
    with stand.working():
        return requests.post(f"{stand.url}/v1/tasks/image/sync", json={"prompt": "x", **fields}, timeout=20)


def test_an_upload(make_stand: StandMaker, bucket: Bucket) -> None:
    stand = make_stand(**ALLOWED)
    with structlog.testing.capture_logs() as logs:
        answer = sync(stand, presigned_url=f" {bucket.url}\n", task_id="a b")
    [line] = [line for line in logs if "actor" in line]
    assert (line["event"], line["delivery"]) == ("result_downloaded", "upload")
    assert (line["job_id"], line["bytes"]) == (stand.jobs()[0].id, len(CONTENT[MediaKind.IMAGE]))
    assert "X-Amz-Signature" not in str(logs)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {
        "task_id": "a b",
        "task_status": "completed",
        "uploaded_to_presigned_url": True,
        "presigned_url": bucket.url,
    }
    assert bucket.puts == [(SIGNED, "image/png", CONTENT[MediaKind.IMAGE])]
    without = sync(stand, presigned_url="")
    assert (without.headers["Content-Type"], len(bucket.puts)) == ("image/png", 1)


def test_uploads_are_tried_again(make_stand: StandMaker, bucket: Bucket) -> None:
    bucket.statuses = [503]
    assert sync(make_stand(**ALLOWED), presigned_url=bucket.url).status_code == 200
    assert len(bucket.puts) == 2


def test_uploads_that_fail(
    make_stand: StandMaker, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    stand = make_stand(**ALLOWED)
    bucket.statuses = [403]
    answer = sync(stand, presigned_url=bucket.url, task_id="kept")
    assert answer.status_code == 502
    assert answer.json()["detail"].startswith("Failed to upload sync result to presigned URL: ")
    assert "HTTP 403" in answer.json()["detail"]
    printed = capsys.readouterr()
    assert "5ecre7" not in answer.text + printed.out + printed.err
    assert (status(stand, "kept")["status"], len(bucket.puts)) == ("completed", 1)
    assert "5ecre7" not in repr(stand.jobs())


def test_urls_are_checked_before_the_job(make_stand: StandMaker, bucket: Bucket) -> None:
    stand = make_stand()
    for url in (bucket.url, "ftp://example.com/a", "http://169.254.169.254/a?k=5ecre7", "x", "http://a b/"):
        answer = requests.post(
            f"{stand.url}/v1/tasks/image/sync", json={"prompt": "x", "presigned_url": url}, timeout=20
        )
        assert answer.status_code == 422, answer.text
        (item,) = answer.json()["detail"]
        assert item["loc"] == ["body", "presigned_url"]
        assert "5ecre7" not in answer.text
    assert (stand.jobs(), bucket.puts) == ([], [])


@pytest.mark.parametrize("path", ["/v1/tasks/image", "/v1/tasks/video/", "/v1/tasks/"])
def test_only_the_sync_route_uploads(shared_stand: Stand, path: str) -> None:
    (item,) = refusal(shared_stand, path, presigned_url="https://example.com/a")
    assert "/v1/tasks/image/sync" in item["msg"]


def test_masks(stand: Stand) -> None:
    inputs = stand.folder / "inputs"
    inputs.mkdir()
    (inputs / "mask.png").write_bytes(b"mask")
    url = f"{stand.url}/v1/tasks/image/"
    base64 = "iVBORw0KGgo" * 8
    for mask in ("https://example.com/mask.png", f"data:image/png;base64,{base64}", base64, "mask.png"):
        sent = requests.post(url, json={"prompt": "x", **IMAGE, "image_mask_path": mask}, timeout=10)
        assert sent.status_code == 200, sent.text
        assert stand.job(sent.json()["task_id"]).request.mask is not None
    assert stand.media.taken[1::2] == [
        UrlSource("https://example.com/mask.png"),
        Base64Source(f"data:image/png;base64,{base64}"),
        Base64Source(base64),
        BytesSource(b"mask"),
    ]


@pytest.mark.parametrize("mask", [BROKEN, "none.png", "../mask.png", "ftp://example.com/mask.png"])
def test_masks_that_are_none(shared_stand: Stand, mask: str) -> None:
    (item,) = refusal(shared_stand, "/v1/tasks/image/", **IMAGE, image_mask_path=mask)
    assert (item["loc"], item["input"]) == (["body", "image_mask_path"], mask)
