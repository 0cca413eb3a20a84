"""wan22-predict against the real server: a client as its document has it, the page, the example."""

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded
from tests.support.running import RunningServer
from tests.support.small_models import KEYS

SMALL: dict[str, Any] = {
    "prompt": "a boat on a lake",
    "width": 128,
    "height": 96,
    "num_frames": 25,
    "num_inference_steps": 2,
    "fps": 8,
    "seed": 42,
}
EXAMPLE = Path(__file__).parent.parent.parent / "docs" / "examples" / "predict.py"


def predict(url: str, **fields: Any) -> requests.Response:
    return requests.post(f"{url}/predict", json={**SMALL, **fields}, timeout=90)


class TestContract(DialectContract):
    posts = ("/predict",)
    unknown_path = "/predict/more"

    @pytest.fixture
    def base_url(self, server: RunningServer) -> str:
        return server.url

    def is_error_body(self, body: Any) -> bool:
        return isinstance(body, dict) and isinstance(body.get("error"), str)  # pyright: ignore[reportUnknownMemberType] # plain JSON


@pytest.mark.smoke
def test_without_an_image(server: RunningServer) -> None:
    answer = predict(server.url)
    assert answer.status_code == 200, answer.text
    assert decoded(base64.b64decode(answer.json()["video_base64"])) == (128, 96, 25, 8.0)
    assert answer.json()["details"] == {**SMALL, "negative_prompt": "", "guidance_scale": 5.0}


def test_by_url(server: RunningServer, pictures: str) -> None:
    answer = predict(server.url, image_url=f"{pictures}/photo.jpg")
    assert answer.status_code == 200, answer.text
    assert decoded(base64.b64decode(answer.json()["video_base64"]))[:3] == (128, 96, 25)
    assert answer.json()["video_base64"] != predict(server.url).json()["video_base64"]


def test_by_base64(server: RunningServer, photo: Path) -> None:
    raw = base64.b64encode(photo.read_bytes()).decode()
    plain, uri = (predict(server.url, image_base64=text) for text in (raw, f"data:image/jpeg;base64,{raw}"))
    assert plain.status_code == uri.status_code == 200
    assert plain.json() == uri.json()


def test_the_drawn_seed_makes_the_same_again(server: RunningServer) -> None:
    drawn = predict(server.url, seed=None).json()
    again = predict(server.url, seed=drawn["details"]["seed"]).json()
    assert drawn == again


def test_sizes_are_rounded_down(server: RunningServer) -> None:
    answer = predict(server.url, width=150, height=100)
    assert (answer.json()["details"]["width"], answer.json()["details"]["height"]) == (128, 96)
    assert decoded(base64.b64decode(answer.json()["video_base64"]))[:2] == (128, 96)


LIMITS: list[tuple[str, Any]] = [
    ("prompt", ""),
    ("prompt", None),
    ("negative_prompt", 1),
    ("height", 31),
    ("height", 2049),
    ("height", "96"),
    ("width", 31),
    ("width", 2049),
    ("width", 96.5),
    ("num_frames", 21),
    ("num_frames", 125),
    ("num_frames", 27),
    ("num_inference_steps", 0),
    ("num_inference_steps", 101),
    ("guidance_scale", 0.9),
    ("guidance_scale", 20.1),
    ("guidance_scale", "5"),
    ("fps", 0),
    ("fps", 61),
    ("seed", -1),
    ("seed", "42"),
    ("image_url", "ftp://127.0.0.1/a.png"),
    ("image_url", "http://10.255.255.1/a.png"),
    ("image_base64", "bm90IGEgcGljdHVyZQ=="),
    ("image_base64", "%%%"),
]


@pytest.mark.parametrize(("field", "value"), LIMITS)
def test_each_limit(server: RunningServer, field: str, value: Any) -> None:
    answer = predict(server.url, **{field: value})
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]
    assert [item["field"] for item in answer.json()["errors"]] == [field]


def test_an_image_that_can_t_be_fetched(server: RunningServer, pictures: str) -> None:
    for url in (f"{pictures}/none.png", "http://127.0.0.1:9/a.png"):
        answer = predict(server.url, image_url=url)
        assert answer.status_code == 400
        assert "image_url" in answer.json()["error"]


def test_a_browser_may_call(server: RunningServer) -> None:
    headers = {
        "Origin": "http://localhost:5173",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    answer = requests.options(f"{server.url}/predict", headers=headers, timeout=60)
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


def test_pages_link_to_nothing_outside(server: RunningServer) -> None:
    for path in ("/", "/docs"):
        page = requests.get(server.url + path, timeout=60)
        assert page.status_code == 200
        assert "http://" not in page.text
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]


def run_example(url: str, output: Path, *arguments: str, key: str = "") -> subprocess.CompletedProcess[str]:
    sizes = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items() if name != "prompt"]
    return subprocess.run(
        [sys.executable, str(EXAMPLE), SMALL["prompt"], "-o", str(output), *sizes, *arguments],
        env={"FRAMEGATE_URL": url, "FRAMEGATE_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_the_example(server: RunningServer, pictures: str, photo: Path, tmp_path: Path) -> None:
    for number, arguments in enumerate(([], ["--image", str(photo)], ["--image", f"{pictures}/photo.jpg"])):
        output = tmp_path / f"{number}.mp4"
        done = run_example(server.url, output, *arguments)
        assert done.returncode == 0, done.stderr
        assert "seed: 42" in done.stdout
        assert decoded(output.read_bytes())[:3] == (128, 96, 25)
    failed = run_example(server.url, tmp_path / "x.mp4", "--num-frames=26")
    assert failed.returncode == 1
    assert "num_frames" in failed.stderr


def test_behind_a_prefix_with_a_key(guarded_server: RunningServer, tmp_path: Path) -> None:
    base = f"{guarded_server.url}/v4/PROJECT/APP"
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answer = requests.post(f"{base}/predict", json=SMALL, headers=headers, timeout=60)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["error"].startswith("Unauthorized")
    done = run_example(base, tmp_path / "cat.mp4", key=KEYS["alice"])
    assert done.returncode == 0, done.stderr
    page = requests.get(f"{base}/", timeout=60)
    assert page.status_code == 200
    assert requests.get(f"{base}/predict-page/page.js", timeout=60).status_code == 200
    assert requests.post(f"{guarded_server.url}/predict", json=SMALL, timeout=60).status_code == 404
