"""wan21-submit against the real server: its document's client, the example, two at once, cancels."""

import io
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import requests
from PIL import Image, ImageOps

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded
from tests.support.running import RunningServer, eventually
from tests.support.small_models import FETCHING, KEYS

REPOSITORY = Path(__file__).parent.parent.parent
EXAMPLE = REPOSITORY / "docs" / "examples" / "wan21_submit.py"
SMALL: dict[str, Any] = {"prompt": "steam rises from the cup", "num_frames": 25, "infer_steps": 20, "seed": 7}
LONG: dict[str, Any] = {"num_frames": 120, "infer_steps": 100}


def call(url: str, name: str, key: str = "", **fields: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(f"{url}/video/{name}", json=fields, headers=headers, timeout=60)


def submitted(url: str, key: str = "", **fields: Any) -> str:
    answer = call(url, "submit", key, **{**SMALL, **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["requestId"])


def status(url: str, request_id: str, key: str = "") -> dict[str, Any]:
    answer = call(url, "status", key, requestId=request_id)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ended(url: str, request_id: str, key: str = "") -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = status(url, request_id, key)
        return None if now["status"] in ("InQueue", "InProgress") else now

    return eventually(look, what=f"the end of {request_id}")


def is_failure(body: Any) -> bool:
    return isinstance(body, dict) and set(map(str, body)) == {"detail"}  # pyright: ignore[reportUnknownArgumentType] # plain JSON


class TestContract(DialectContract):
    posts = ("/video/submit", "/video/status", "/video/cancel")
    unknown_path = "/video/nothing"

    @pytest.fixture
    def base_url(self, server: RunningServer) -> str:
        return server.url

    def is_error_body(self, body: Any) -> bool:
        return is_failure(body)


def test_image_to_video(server: RunningServer, pictures: str, photo: Path) -> None:
    began = time.monotonic()
    body = ended(server.url, submitted(server.url, image_url=f"{pictures}/photo.jpg"))
    took = time.monotonic() - began
    assert list(body) == ["status", "reason", "results", "queue_position"]
    assert (body["status"], body["reason"], body["queue_position"]) == ("Succeed", None, None)
    assert body["results"]["seed"] == 7
    assert 0 < body["results"]["timings"]["inference"] < took
    [video] = body["results"]["videos"]
    data = requests.get(video["url"], timeout=60).content
    # The photograph is 600×400.
    assert decoded(data) == (768, 512, 25, 16.0)
    with av.open(io.BytesIO(data), "r") as film, Image.open(photo) as picture:
        first = next(film.decode(video=0)).to_ndarray(format="rgb24").astype(np.float64)
        covering = ImageOps.fit(picture.convert("RGB"), (768, 512))
        assert np.abs(first - np.asarray(covering)).mean() < 10

    part = requests.get(video["url"], headers={"Range": "bytes=10-19"}, timeout=60)
    assert (part.status_code, part.content) == (206, data[10:20])
    assert int(requests.head(video["url"], timeout=60).headers["Content-Length"]) == len(data)
    again = ended(server.url, submitted(server.url, image_url=f"{pictures}/photo.jpg"))
    assert requests.get(again["results"]["videos"][0]["url"], timeout=60).content == data


@pytest.mark.smoke
def test_text_to_video(server: RunningServer) -> None:
    body = ended(server.url, submitted(server.url, model="Wan2.2-TI2V-5B", image_size="480x832"))
    data = requests.get(body["results"]["videos"][0]["url"], timeout=60).content
    # What that model makes: multiples of 32.
    assert decoded(data)[:3] == (480, 832, 25)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("{pictures}/none.png", "HTTP 404"),
        ("{pictures}/", "not an image"),
        ("http://127.0.0.1:9/a.png", "can't be reached"),
        ("http://10.255.255.1/a.png", "not public"),
        ("http://no-such-host.invalid/a.png", "could not be resolved"),
        ("ftp://127.0.0.1/a.png", "not an http(s) URL"),
        ("data:image/png;base64,AAAA", "not an http(s) URL"),
        ("cat.png", "'cat.png' is not an http(s) URL"),
    ],
)
def test_an_image_that_can_t_be_had(server: RunningServer, pictures: str, path: str, reason: str) -> None:
    answer = call(server.url, "submit", **SMALL, image_url=path.format(pictures=pictures))
    assert answer.status_code == 400
    assert answer.json()["detail"]["status"] == "Failed"
    assert reason in answer.json()["detail"]["reason"]


def shown(server: RunningServer, request_id: str) -> dict[str, Any]:
    job: dict[str, Any] = server.json("jobs", "show", request_id)
    return job


def test_cancel_of_a_running_one_lets_the_next_start(server: RunningServer, pictures: str) -> None:
    image = f"{pictures}/photo.jpg"
    running, waiting, next_one = (submitted(server.url, image_url=image, **LONG) for _ in range(3))
    eventually(lambda: status(server.url, running)["status"] == "InProgress", what="the first one running")
    assert status(server.url, waiting)["queue_position"] == 1
    assert status(server.url, next_one)["queue_position"] == 2
    for request_id in (waiting, running):
        assert call(server.url, "cancel", requestId=request_id).json() == {"status": "Succeed"}
        assert status(server.url, request_id)["status"] == "Cancelled"
    eventually(
        lambda: status(server.url, next_one)["status"] == "InProgress",
        what="the next one running",
    )
    assert call(server.url, "cancel", requestId=next_one).json() == {"status": "Succeed"}
    left = shown(server, running)
    assert left["state"] == "cancelled"
    assert left["progress"] < 0.9, "it did not run to its end before"
    assert not shown(server, waiting).get("started_at")
    for request_id in (running, waiting, next_one):
        assert ended(server.url, request_id)["status"] == "Cancelled"


ALICE = KEYS["alice"]


@pytest.fixture
def three_workers(guarded_server: RunningServer) -> RunningServer:
    """Here the dialect is at /v1, beside all others."""
    eventually(lambda: len(guarded_server.worker_pids()) == 3, what="three workers")
    return guarded_server


class TestContractBehindAPrefixWithAKey(TestContract):
    api_key = ALICE

    @pytest.fixture
    def base_url(self, guarded_server: RunningServer) -> str:
        return f"{guarded_server.url}/v1"


def test_two_at_once(three_workers: RunningServer, pictures: str) -> None:
    base = f"{three_workers.url}/v1"
    image = f"{pictures}/photo.jpg"
    requests_made = [submitted(base, ALICE, image_url=image, num_frames=81) for _ in range(4)]
    for request_id in requests_made:
        assert ended(base, request_id, ALICE)["status"] == "Succeed"
    jobs = sorted(three_workers.json("jobs", "list"), key=lambda job: job["created_at"])[-4:]
    starts = [job["started_at"] for job in jobs]
    at_once = [sum(job["started_at"] <= start < job["finished_at"] for job in jobs) for start in starts]
    assert max(at_once) == 2


def test_gone_after_its_time(start_server: Callable[..., RunningServer], pictures: str) -> None:
    server = start_server(config=FETCHING)
    base = server.url
    request_id = submitted(base, image_url=f"{pictures}/photo.jpg")
    url = ended(base, request_id)["results"]["videos"][0]["url"]
    assert re.fullmatch(rf"{server.url}/videos/[0-9a-f]{{32}}_1\.mp4", url)
    assert requests.get(url, timeout=60).status_code == 200
    server.stop()
    server.restart(config=FETCHING + '[storage]\nretention = "1s"\n')

    def gone() -> bool:
        try:
            return requests.get(url, timeout=60).status_code == 404
        except requests.exceptions.ChunkedEncodingError:  # it went between its size and its first byte
            return False

    eventually(gone, what="the end of the file")
    assert requests.get(url, timeout=60).json()["detail"]["status"] == "Failed"


def test_401(guarded_server: RunningServer) -> None:
    for name in ("submit", "status", "cancel"):
        for key in ("", "wrong"):
            answer = call(f"{guarded_server.url}/v1", name, key, **SMALL)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["detail"]["status"] == "Failed"


def run(command: list[str], cwd: Path, key: str = "", url: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={"FRAMEGATE_URL": url, "FRAMEGATE_API_KEY": key, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_the_example(
    server: RunningServer, guarded_server: RunningServer, pictures: str, tmp_path: Path
) -> None:
    arguments = [SMALL["prompt"], "--image", f"{pictures}/photo.jpg", "--num-frames=25", "--seed=7"]
    for url, key in ((server.url, ""), (f"{guarded_server.url}/v1", ALICE)):
        output = tmp_path / "out.mp4"
        done = run([sys.executable, str(EXAMPLE), *arguments, "-o", str(output)], tmp_path, key, url)
        assert done.returncode == 0, done.stderr
        assert "seed: 7" in done.stdout
        assert decoded(output.read_bytes())[:3] == (768, 512, 25)
    for wrong, word in ((["too short"], "prompt"), ([*arguments[:3], "--model=none"], "none")):
        failed = run([sys.executable, str(EXAMPLE), *wrong], tmp_path, url=server.url)
        assert failed.returncode == 1
        assert word in failed.stderr
