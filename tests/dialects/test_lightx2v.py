"""lightx2v against the real server: the document's client, the real server's client, and whoever tries."""

import base64
import http.client
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import requests
from PIL import Image

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded
from tests.support.running import RunningServer, eventually

SMALL: dict[str, Any] = {
    "prompt": "a boat on a lake",
    "width": 128,
    "height": 96,
    "infer_steps": 2,
    "seed": 7,
}
Submit: TypeAlias = Callable[..., str]


def state(server: RunningServer, task_id: str) -> dict[str, Any]:
    answer = requests.get(f"{server.url}/v1/tasks/{task_id}/status", timeout=60)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def finished(server: RunningServer, task_id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        now = state(server, task_id)
        return now if now["end_time"] else None

    return eventually(look, what=f"the end of {task_id}")


def result(server: RunningServer, task_id: str) -> bytes:
    done = finished(server, task_id)
    assert done["progress"] == 1.0, done
    answer = requests.get(f"{server.url}/v1/tasks/{task_id}/result", timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "video/mp4")
    return answer.content


@pytest.fixture
def submit(server: RunningServer) -> Submit:
    def send(path: str = "/v1/tasks/video", **fields: Any) -> str:
        answer = requests.post(server.url + path, json={**SMALL, **fields}, timeout=60)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task_id"])

    return send


@pytest.fixture(scope="module")
def finished_task(server: RunningServer) -> str:
    """A task that has its file."""
    answer = requests.post(
        f"{server.url}/v1/tasks/video", json={**SMALL, "target_video_length": 17}, timeout=60
    )
    task_id: str = answer.json()["task_id"]
    finished(server, task_id)
    return task_id


class TestContract(DialectContract):
    posts = ("/v1/tasks/video", "/v1/tasks/", "/v1/tasks/image", "/v1/tasks/image/sync")
    unknown_path = "/v1/tasks/a/b/c"

    @pytest.fixture
    def base_url(self, server: RunningServer) -> str:
        return server.url

    def is_error_body(self, body: Any) -> bool:
        return isinstance(body, dict) and set(map(str, body)) == {"detail"}  # pyright: ignore[reportUnknownArgumentType] # plain JSON


@pytest.mark.smoke
def test_text_to_video(server: RunningServer, submit: Submit) -> None:
    data = result(server, submit(video_duration=1.5, target_fps=16))
    assert decoded(data) == (128, 96, 24, 16.0)


def test_image_to_video_by_json(server: RunningServer, submit: Submit, photo: Path) -> None:
    inputs = server.data_dir / "inputs"
    inputs.mkdir(exist_ok=True)
    (inputs / "photo.jpg").write_bytes(photo.read_bytes())
    data = result(server, submit(image_path="photo.jpg", target_video_length=17))
    assert decoded(data)[:3] == (128, 96, 17)


def test_image_to_video_by_form(server: RunningServer, photo: Path) -> None:
    fields = {name: str(value) for name, value in SMALL.items()} | {"target_video_length": "17"}
    with photo.open("rb") as file:
        url = f"{server.url}/v1/tasks/video/form"
        answer = requests.post(url, data=fields, files={"image_file": file}, timeout=60)
    assert answer.status_code == 200, answer.text
    # The document's form has no target_video_length.
    assert answer.json()["status"] == "pending"
    assert decoded(result(server, answer.json()["task_id"]))[:3] == (128, 96, 17)


def test_an_image_that_is_none(server: RunningServer) -> None:
    for name, field in (("video", "image_path"), ("video/form", "image_file")):
        url = f"{server.url}/v1/tasks/{name}"
        if name == "video":
            answer = requests.post(url, json={**SMALL, "image_path": "bm90IGEgcGljdHVyZQ=="}, timeout=60)
        else:
            answer = requests.post(
                url, data={"prompt": "x"}, files={"image_file": ("a.png", b"not a picture")}, timeout=60
            )
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", field]


def test_the_same_seed_gives_the_same_video(server: RunningServer, submit: Submit) -> None:
    first, again, other = (result(server, submit(target_video_length=9, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_progress_grows(server: RunningServer, submit: Submit) -> None:
    task_id = submit(width=640, height=480, infer_steps=100, video_duration=25)
    seen: list[float] = []
    words: list[str] = []

    def has_grown() -> bool:
        now = state(server, task_id)
        seen.append(now["progress"])
        words.append(now["status"])
        return len(set(seen)) > 3 or bool(now["end_time"])

    eventually(has_grown, what="progress")
    requests.delete(f"{server.url}/v1/tasks/{task_id}", timeout=60)
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert list(dict.fromkeys(words)) in (["submitted", "running"], ["running"])


def test_fragments_keep_the_length(server: RunningServer, submit: Submit) -> None:
    data = result(server, submit(target_video_length=25, num_fragments=3))
    assert decoded(data)[:3] == (128, 96, 25)


def test_the_trailing_slash_decides_on_the_words(server: RunningServer, submit: Submit) -> None:
    document = finished(server, submit("/v1/tasks/video", video_duration=0.5))
    real = finished(server, submit("/v1/tasks/video/", target_video_length=9))
    assert (document["status"], real["status"]) == ("succeed", "completed")
    assert document.keys() == real.keys()
    listed = requests.get(f"{server.url}/v1/tasks/", timeout=60).json()
    assert listed[real["task_id"]] == real


def test_result_names(server: RunningServer, submit: Submit) -> None:
    task_id = submit("/v1/tasks/video/", target_video_length=9, save_result_path="./trips/boat")
    done = finished(server, task_id)
    assert done["save_result_path"] == "trips/boat.mp4"
    data = result(server, task_id)
    absolute = server.data_dir / "outputs" / "videos" / f"{task_id}.mp4"
    for name in ("trips/boat.mp4", f"outputs/videos/{task_id}.mp4", f"{task_id}.mp4", absolute):
        answer = requests.get(f"{server.url}/v1/files/download/{name}", timeout=60)
        assert answer.content == data, name


def test_images(server: RunningServer) -> None:
    fields = {"prompt": "a red ball", "target_shape": [96, 128], "infer_steps": 2}
    answer = requests.post(f"{server.url}/v1/tasks/image/sync?timeout_seconds=60", json=fields, timeout=120)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("PNG", (128, 96))


@pytest.mark.parametrize(
    ("size", "ground"), [((128, 96), "black"), ((32, 24), "black"), ((64, 64), "transparent")]
)
def test_a_mask_keeps_the_rest(
    server: RunningServer, photo: Path, size: tuple[int, int], ground: str
) -> None:
    with Image.open(photo) as source:
        original = source.convert("RGB").resize((128, 96))
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    if ground == "transparent":
        white, drawn = Image.new("RGBA", size, "white"), mask
        white.putalpha(drawn)
        mask = white
    fields = {
        "prompt": "a red ball",
        "image_path": png_base64(original),
        "image_mask_path": png_base64(mask),
        "target_shape": [96, 128],
        "infer_steps": 2,
    }
    answer = requests.post(f"{server.url}/v1/tasks/image/sync", json=fields, timeout=120)
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as made:
        right, left = (72, 0, 128, 96), (0, 0, 56, 96)
        assert made.convert("RGB").crop(right).tobytes() == original.crop(right).tobytes()
        assert made.convert("RGB").crop(left).tobytes() != original.crop(left).tobytes()


def png_base64(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_inputs_without_a_prompt(server: RunningServer, finished_task: str, photo: Path) -> None:
    (server.data_dir / "inputs").mkdir(exist_ok=True)
    (server.data_dir / "inputs" / "input.mp4").write_bytes(result(server, finished_task))
    image = base64.b64encode(photo.read_bytes()).decode()
    for source in (
        {"video_path": "input.mp4", "sr_ratio": 2},
        {"image_path": image, "target_video_length": 9},
    ):
        fields = {"infer_steps": 2, "target_shape": [96, 128], "seed": 42, **source}
        sent = requests.post(f"{server.url}/v1/tasks/video/", json=fields, timeout=60)
        assert sent.status_code == 200, sent.text
        assert decoded(result(server, sent.json()["task_id"]))[:2] == (128, 96)


def test_cancel(server: RunningServer, submit: Submit) -> None:
    task_id = submit(width=832, height=480, infer_steps=100, video_duration=25)
    eventually(lambda: state(server, task_id)["status"] == "running", what="a running task")
    stopped = requests.delete(f"{server.url}/v1/tasks/{task_id}", timeout=60)
    assert (stopped.status_code, stopped.json()["stop_status"]) == (200, "success")
    done = finished(server, task_id)
    assert (done["status"], done["message"]) == ("failed", "cancelled")
    again = requests.delete(f"{server.url}/v1/tasks/unknown", timeout=60)
    assert (again.status_code, again.json()["stop_status"]) == (200, "do_nothing")


def test_ranges(server: RunningServer, finished_task: str) -> None:
    url = f"{server.url}/v1/files/download/outputs/videos/{finished_task}.mp4"
    whole = requests.get(url, timeout=60)
    size = len(whole.content)
    part = requests.get(url, headers={"Range": "bytes=10-19"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{size}"
    assert requests.get(url, headers={"Range": f"bytes={size}-"}, timeout=60).status_code == 416
    head = requests.head(url, timeout=60)
    assert (head.status_code, int(head.headers["Content-Length"])) == (200, size)
    tag = whole.headers["ETag"]
    assert requests.get(url, headers={"If-None-Match": tag}, timeout=60).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "outputs/videos/../../../../etc/passwd",
        "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252f%252e%252e%252fetc%252fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "/proc/self/environ",
        "outputs/videos/%00",
        "outputs/videos/{task}.mp4%00.txt",
        "{data}/valkey",
        "{data}/outputs/../inputs/photo.jpg",
    ],
)
def test_no_download_leads_out(server: RunningServer, finished_task: str, path: str) -> None:
    path = path.format(task=finished_task, data=server.data_dir)
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.putrequest("GET", f"/v1/files/download/{path}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    assert answer.status in (403, 404)
    assert '"detail"' in body
    assert str(server.data_dir) not in body


LIMITS: list[tuple[str, Any]] = [
    ("prompt", ""),
    ("prompt", " \n"),
    ("prompt", 5),
    ("prompt", None),
    ("negative_prompt", 5),
    ("image_path", 5),
    ("image_path", "../../etc/passwd.png"),
    ("image_path", "file:///etc/passwd"),
    ("image_path", "http://10.255.255.1/a.png"),
    ("infer_steps", 1.5),
    ("infer_steps", "four"),
    ("infer_steps", 2**63),
    ("video_duration", 0),
    ("video_duration", -1),
    ("video_duration", 601),
    ("video_duration", "long"),
    ("seed", "x"),
    ("seed", 0.5),
    ("height", 31),
    ("height", 4097),
    ("height", "tall"),
    ("width", 31),
    ("width", 4097),
    ("width", True),
    ("num_fragments", 0),
    ("num_fragments", 65),
    ("num_fragments", 1.5),
    ("target_video_length", 0),
    ("target_video_length", 7201),
    ("target_fps", 0),
    ("target_fps", 121),
    ("target_shape", [96]),
    ("target_shape", [96, 128, 3]),
    ("target_shape", "96x128"),
    ("aspect_ratio", "wide"),
    ("task_id", "../x"),
    ("task_id", "queue"),
    ("save_result_path", "/"),
    ("save_result_path", ".."),
    ("lora_name", "style"),
    ("audio_path", "a.wav"),
]


@pytest.mark.parametrize(("field", "value"), LIMITS)
def test_each_limit(server: RunningServer, field: str, value: Any) -> None:
    answer = requests.post(f"{server.url}/v1/tasks/video", json={**SMALL, field: value}, timeout=60)
    assert answer.status_code == 422, answer.text
    (item,) = answer.json()["detail"]
    assert item.keys() == {"type", "loc", "msg", "input"}
    assert item["loc"][:2] == ["body", field]
