"""lightx2v, part by part: its names, its media, its states."""

import http.client
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from framegate.adapters.http.lightx2v.convert import Forbidden, download_names, named_job, result_name
from framegate.core.ports import Base64Source, BytesSource, UrlSource
from framegate.core.types import MediaKind, Task

from .conftest import BROKEN, CONTENT, Stand, StandMaker

VIDEO = CONTENT[MediaKind.VIDEO]


def submit(stand: Stand, path: str = "/v1/tasks/video", **fields: Any) -> dict[str, Any]:
    answer = requests.post(stand.url + path, json={"prompt": "a boat", **fields}, timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def status(stand: Stand, task_id: str) -> dict[str, Any]:
    answer = requests.get(f"{stand.url}/v1/tasks/{task_id}/status", timeout=10)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refusal(stand: Stand, path: str = "/v1/tasks/video", **fields: Any) -> list[dict[str, Any]]:
    answer = requests.post(stand.url + path, json={"prompt": "a boat", **fields}, timeout=10)
    assert answer.status_code == 422, answer.text
    detail: list[dict[str, Any]] = answer.json()["detail"]
    assert all(item.keys() == {"type", "loc", "msg", "input"} for item in detail)
    return detail


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("cat.mp4", "cat.mp4"),
        ("cat", "cat.mp4"),
        ("./a/b.mp4", "a/b.mp4"),
        ("a//b/", "a/b.mp4"),
        ("Katze 1.MP4", "Katze 1.MP4"),
        ("v1.2", "v1.2.mp4"),
        ("...", "....mp4"),
    ],
)
def test_result_names(wanted: str, name: str) -> None:
    assert result_name(wanted, MediaKind.VIDEO) == name


@pytest.mark.parametrize(
    "wanted",
    [
        "/a.mp4",
        "../a.mp4",
        "a/../b.mp4",
        "~/a",
        "C:/a",
        "a\\b",
        "a\0",
        "a\nb",
        "%2e%2e/a",
        ".",
        "./",
        "..",
        "s3://x/y",
    ],
)
def test_names_that_lead_elsewhere(wanted: str, shared_stand: Stand) -> None:
    with pytest.raises(ValueError, match="name"):
        result_name(wanted, MediaKind.VIDEO)
    (item,) = refusal(shared_stand, save_result_path=wanted)
    assert item["loc"] == ["body", "save_result_path"]


def test_download_names() -> None:
    assert download_names("/outputs/videos/ID.mp4", "/data/outputs") == ["outputs/videos/ID.mp4", "ID.mp4"]
    assert download_names("/data/outputs/videos/ID.mp4", "/data/outputs")[1] == "ID.mp4"
    assert download_names("/outputs/images/a/b.png", "/data/outputs")[1] == "a/b.png"
    assert named_job("ID.mp4") == "ID"
    assert named_job("a/ID.mp4") is None
    assert named_job("ID.txt") is None
    for path in ("../x", "a/../b", "a\\b", "%2e%2e/x", "a\0b"):
        with pytest.raises(Forbidden):
            download_names(path, "/data/outputs")


def test_the_document_s_words(stand: Stand) -> None:
    sent = submit(stand)
    task_id = sent["task_id"]
    assert sent["status"] == "submitted"
    assert sent["message"] == "Task created successfully"
    job = stand.claim()
    stand.store.advance(job.id, 0.5, "step 2 of 4")
    running = status(stand, task_id)
    assert (running["status"], running["progress"], running["message"]) == ("running", 0.5, "Processing...")
    assert running["file_path"] is None
    stand.finish(job)
    done = status(stand, task_id)
    assert (done["status"], done["task_status"], done["progress"]) == ("succeed", "succeed", 1.0)
    assert done["file_path"] == f"outputs/videos/{task_id}.mp4"
    file = requests.get(f"{stand.url}/v1/files/download/{done['file_path']}", timeout=10)
    assert (file.status_code, file.content, file.headers["Content-Type"]) == (200, VIDEO, "video/mp4")


@pytest.mark.parametrize(
    "path", ["/v1/tasks/video/", "/v1/tasks/", "/v1/tasks", "/v1/tasks/image", "/v1/tasks/image/"]
)
def test_the_real_server_s_words(stand: Stand, path: str) -> None:
    sent = submit(stand, path, save_result_path="./results/cat")
    suffix = "png" if "image" in path else "mp4"
    assert (sent["task_status"], sent["save_result_path"]) == ("pending", f"results/cat.{suffix}")
    job = stand.claim()
    assert status(stand, job.id)["status"] == "processing"
    stand.finish(job)
    done = status(stand, job.id)
    assert (done["status"], done["error"], done["error_type"]) == ("completed", None, "")
    assert done["start_time"] < done["end_time"]
    file = requests.get(f"{stand.url}/v1/files/download/{done['save_result_path']}", timeout=10)
    assert file.content == CONTENT[job.request.task.output]
    assert (
        requests.get(f"{stand.url}/v1/files/download/{done['file_path']}", timeout=10).content == file.content
    )


def test_failures_and_cancels(stand: Stand) -> None:
    for path, failed, cancelled in (
        ("/v1/tasks/video", "failed", "failed"),
        ("/v1/tasks/video/", "failed", "cancelled"),
    ):
        first = submit(stand, path)["task_id"]
        stand.fail(stand.claim(), "Out of luck.")
        state = status(stand, first)
        assert (state["status"], state["message"], state["error"]) == (failed, "Out of luck.", "Out of luck.")
        assert state["error_type"] == "generation_failed"
        second = submit(stand, path)["task_id"]
        stand.claim()
        assert (
            requests.delete(f"{stand.url}/v1/tasks/{second}", timeout=10).json()["stop_status"] == "success"
        )
        state = status(stand, second)
        assert (state["status"], state["message"]) == (cancelled, "cancelled")
        assert stand.job(second).cancel_requested
        stand.store.leave(second)
        assert status(stand, second)["status"] == cancelled


@pytest.mark.parametrize(("setting", "word"), [("document", "submitted"), ("server", "pending")])
def test_a_fixed_vocabulary(make_stand: StandMaker, setting: str, word: str) -> None:
    stand = make_stand({"lightx2v": {"vocabulary": setting}})
    for path in ("/v1/tasks/video", "/v1/tasks/video/", "/v1/tasks/"):
        assert submit(stand, path)["status"] == word


def test_lengths_and_sizes(stand: Stand) -> None:
    def made(path: str = "/v1/tasks/video", **fields: Any) -> tuple[int, int, int, float, int]:
        job = stand.job(submit(stand, path, **fields)["task_id"])
        shot = job.shots[0]
        frames = sum(part.frames_kept for part in job.shots)
        return shot.width, shot.height, frames, shot.fps, shot.num_inference_steps

    assert made() == (832, 480, 80, 16.0, 4)
    assert made("/v1/tasks/video/") == (832, 480, 81, 16.0, 4)
    assert made(video_duration=2.5, target_fps=8) == (832, 480, 20, 8.0, 4)
    assert made(video_duration=3, target_video_length=17, infer_steps=7) == (832, 480, 17, 16.0, 7)
    assert made(target_shape=[96, 128], width=64, height=64)[:2] == (128, 96)
    assert made(width=64, height=96)[:2] == (64, 96)
    assert made(image_path="https://example.com/square.png")[:2] == (832, 480)
    width, height, *_ = made("/v1/tasks/video/", image_path="https://example.com/square.png")
    assert width == height
    width, height, *_ = made("/v1/tasks/image/", aspect_ratio="9:16")
    assert abs(width / height - 9 / 16) < 0.01
    assert made("/v1/tasks/image/")[:2] == (1664, 928)


def test_media(stand: Stand) -> None:
    inputs = stand.folder / "inputs"
    inputs.mkdir()
    (inputs / "cat.png").write_bytes(b"cat")
    picture = {"image_path": "https://example.com/cat.png"}
    assert stand.job(submit(stand, **picture)["task_id"]).request.task == Task.IMAGE_TO_VIDEO
    submit(stand, **picture, last_frame_path="data:image/png;base64,AAAA")
    submit(stand, image_path="iVBORw0KGgo=")
    submit(stand, image_path="cat.png")
    submit(stand, image_path=str(inputs / "cat.png"))
    video = submit(stand, video_path="HTTPS://example.com/a.mp4")
    assert stand.job(video["task_id"]).request.task == Task.VIDEO_TO_VIDEO
    nothing: list[dict[str, Any]] = [{}, {"image_path": ""}, {"image_path": None}]
    for empty in nothing:
        assert stand.job(submit(stand, **empty)["task_id"]).request.task == Task.TEXT_TO_VIDEO
    edited = submit(stand, "/v1/tasks/image/", **picture, i2i_denoise_strength=0.4)
    assert stand.job(edited["task_id"]).request.strength == 0.4
    assert stand.media.taken == [
        UrlSource("https://example.com/cat.png"),
        UrlSource("https://example.com/cat.png"),
        Base64Source("data:image/png;base64,AAAA"),
        Base64Source("iVBORw0KGgo="),
        BytesSource(b"cat"),
        BytesSource(b"cat"),
        UrlSource("HTTPS://example.com/a.mp4"),
        UrlSource("https://example.com/cat.png"),
    ]


def test_no_file_outside_the_input_folder(stand: Stand) -> None:
    inputs = stand.folder / "inputs"
    inputs.mkdir()
    secret = stand.folder / "secret.png"
    secret.write_bytes(b"secret")
    (inputs / "link.png").symlink_to(secret)
    (inputs / "folder.png").mkdir()
    os.mkfifo(inputs / "pipe.png")
    (inputs / "big.png").write_bytes(b"x" * 10)
    paths = [
        "../secret.png",
        "a/../../secret.png",
        str(secret),
        "link.png",
        "folder.png",
        "pipe.png",
        "none.png",
        "/etc/passwd.conf",
        "a\0.png",
        "x" * 5000 + ".png",
        "~/.ssh/id_rsa",
    ]
    for path in paths:
        (item,) = refusal(stand, image_path=path)
        assert item["loc"] == ["body", "image_path"], path
        assert str(stand.folder) not in item["msg"]
    for url in ("file:///etc/passwd", "ftp://example.com/a.png"):
        (item,) = refusal(stand, image_path=url)
        assert "http" in item["msg"]
    (item,) = refusal(stand, last_frame_path="../secret.png", image_path="AAAA")
    assert item["loc"] == ["body", "last_frame_path"]
    assert stand.media.taken == []


def test_inputs_have_a_limit(make_stand: StandMaker) -> None:
    stand = make_stand(fetch={"max_bytes": 5})
    (stand.folder / "inputs").mkdir()
    (stand.folder / "inputs" / "big.png").write_bytes(b"x" * 6)
    (item,) = refusal(stand, image_path="big.png")
    assert "5 bytes" in item["msg"]
    url = f"{stand.url}/v1/tasks/video/form"
    answer = requests.post(url, data={"prompt": "x"}, files={"image_file": ("a.png", b"x" * 6)}, timeout=10)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "image_file"]


def test_bad_media_name_their_field(shared_stand: Stand) -> None:
    (item,) = refusal(shared_stand, image_path=BROKEN)
    assert (item["loc"], item["input"]) == (["body", "image_path"], BROKEN)


@pytest.mark.parametrize(
    "fields",
    [
        {"use_prompt_enhancer": True},
        {"image_mask_path": "x"},
        {"presigned_url": "https://example.com/put"},
        {"reuse": True},
        {"lora_name": "style"},
        {"lora_strength": 0.5},
        {"data_bootstrap_room": 1},
        {"disagg_phase1_receiver_engine_rank": 0},
        {"disagg_bootstrap_room": 1},
        {"disagg_decoder_bootstrap_room": 1},
        {"sr_ratio": 4.0},
        {"audio_path": "a.wav"},
        {"talk_objects": [{"audio": "a", "mask": "b"}]},
        {"resize_mode": "fixed_shape"},
        {"i2i_denoise_strength": 0.5},
        {"no_such_field": 1},
    ],
)
def test_nothing_is_silently_dropped(shared_stand: Stand, fields: dict[str, Any]) -> None:
    (item,) = refusal(shared_stand, **fields)
    assert item["loc"] == ["body", *fields]


def test_what_clients_send_without_meaning_it(stand: Stand) -> None:
    submit(
        stand,
        "/v1/tasks/video/",
        use_prompt_enhancer=False,
        negative_prompt="",
        image_path="",
        last_frame_path="",
        image_mask_path="",
        save_result_path="",
        presigned_url="",
        infer_steps=5,
        seed=42,
        reuse=False,
        target_shape=[],
        lora_name=None,
        lora_strength=1.0,
        num_fragments=1,
        target_video_length=81,
        video_path="",
        sr_ratio=2.0,
        audio_path="",
        video_duration=5,
        talk_objects=None,
        target_fps=16,
        resize_mode="adaptive",
    )


def test_forms(stand: Stand) -> None:
    url = f"{stand.url}/v1/tasks/video/form"
    data = {
        "prompt": "x",
        "seed": "7",
        "video_duration": "1.5",
        "width": "",
        "negative_prompt": "",
        "infer_steps": "3",
    }
    files = {"image_file": ("../../etc/évil\r\n.png", b"png"), "last_frame_file": ("b.png", b"end")}
    answer = requests.post(url, data=data, files=files, timeout=10)
    assert answer.status_code == 200, answer.text
    job = stand.job(answer.json()["task_id"])
    assert (job.seed, job.shots[0].num_inference_steps, job.request.duration) == (7, 3, 1.5)
    assert stand.media.taken == [BytesSource(b"png"), BytesSource(b"end")]
    image = requests.post(f"{stand.url}/v1/tasks/image/form", files={"prompt": (None, "x")}, timeout=10)
    assert image.json()["status"] == "pending"


@pytest.mark.parametrize(
    ("data", "files", "wrong"),
    [
        ({"prompt": "x"}, {}, ["image_file"]),
        ({}, {"image_file": b"x"}, ["prompt"]),
        ({"prompt": "x", "image_file": "text"}, {"other": b"x"}, ["image_file", "other"]),
        ({"prompt": "x", "seed": "a", "zz": "1"}, {"image_file": b"x"}, ["seed", "zz"]),
        ({"prompt": ["x", "y"]}, {"image_file": b"x"}, ["prompt"]),
        ({"prompt": "x", "use_prompt_enhancer": "true"}, {"image_file": b"x"}, ["use_prompt_enhancer"]),
        ({"prompt": "x"}, {"image_file": b"x", "audio_file": b"x"}, ["audio_file"]),
    ],
)
def test_wrong_forms(
    shared_stand: Stand, data: dict[str, Any], files: dict[str, bytes], wrong: list[str]
) -> None:
    uploads = {name: (f"{name}.png", content) for name, content in files.items()} or {"": (None, "")}
    answer = requests.post(f"{shared_stand.url}/v1/tasks/video/form", data=data, files=uploads, timeout=10)
    assert answer.status_code == 422, answer.text
    named = [item["loc"][1] for item in answer.json()["detail"]]
    assert set(wrong) <= set(named)


_PART = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"--b\r\n",
        _PART + b"\r\n\xff\xfe\r\n--b--\r\n",
        _PART + b"Content-Type: text/plain; charset=klingon\r\n\r\nx\r\n--b--\r\n",
    ],
)
def test_malformed_forms(shared_stand: Stand, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = requests.post(f"{shared_stand.url}/v1/tasks/video/form", data=body, headers=headers, timeout=10)
    assert answer.status_code == 422, answer.text
    assert "detail" in answer.json()


def test_queue_and_service(make_stand: StandMaker) -> None:
    stand = make_stand(max_queued=2)
    queue = f"{stand.url}/v1/tasks/queue/status"
    service = f"{stand.url}/v1/service/status"
    assert requests.get(queue, timeout=10).json() == {
        "is_processing": False,
        "current_task": None,
        "pending_count": 0,
        "active_count": 0,
        "queue_size": 2,
        "queue_available": 2,
    }
    first = submit(stand)["task_id"]
    submit(stand)
    full = requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x"}, timeout=10)
    assert (full.status_code, full.json()) == (503, {"detail": "Task queue is full (max 2 tasks)"})
    assert int(full.headers["Retry-After"]) > 0
    stand.claim()
    state = requests.get(queue, timeout=10).json()
    assert (state["is_processing"], state["current_task"], state["pending_count"]) == (True, first, 1)
    assert requests.get(service, timeout=10).json() == {
        "service_status": "busy",
        "current_task": first,
        "active_tasks": [first],
        "pending_tasks": 1,
        "queue_size": 2,
        "total_tasks": 2,
        "completed_tasks": 0,
        "failed_tasks": 0,
    }
    stopped = requests.delete(f"{stand.url}/v1/tasks/all/running", timeout=10).json()
    assert stopped == {"stop_status": "success", "reason": "All tasks stopped successfully."}
    assert {
        task["message"] for task in requests.get(f"{stand.url}/v1/tasks", timeout=10).json().values()
    } == {"cancelled"}
    assert requests.get(f"{stand.url}/v1/service/metadata", timeout=10).json() == {
        "nproc_per_node": 1,
        "model_cls": "preview",
        "model_path": "lightx2v",
    }


def test_own_ids(stand: Stand) -> None:
    assert submit(stand, task_id="my-task.1")["task_id"] == "my-task.1"
    again = requests.post(f"{stand.url}/v1/tasks/", json={"prompt": "x", "task_id": "my-task.1"}, timeout=10)
    assert (again.status_code, again.json()) == (409, {"detail": "Task ID my-task.1 already exists"})
    for bad in ("", "a/b", "../x", ".hidden", "x" * 129, "a b"):
        (item,) = refusal(stand, task_id=bad)
        assert item["loc"] == ["body", "task_id"]


def test_results_that_are_not_there(stand: Stand) -> None:
    task_id = submit(stand)["task_id"]
    early = requests.get(f"{stand.url}/v1/tasks/{task_id}/result", timeout=10)
    assert (early.status_code, early.json()) == (404, {"detail": "Task not completed"})
    job = stand.run_next()
    stand.artifacts.delete(job.artifacts[0].key)
    gone = requests.get(f"{stand.url}/v1/tasks/{task_id}/result", timeout=10)
    assert gone.status_code == 404
    assert str(stand.folder) not in gone.text
    unknown = requests.get(f"{stand.url}/v1/tasks/none/result", timeout=10)
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "Task not found"})


def raw(stand: Stand, path: str, method: str = "GET") -> tuple[int, bytes]:
    """A request whose path nobody tidies up."""
    parts = urlsplit(stand.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "outputs/videos/../../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "..%5c..%5cetc%5cpasswd",
        "..\\..\\etc\\passwd",
        "/etc/passwd",
        "%2Fetc%2Fpasswd",
        "outputs/videos/cat.mp4%00.png",
        "outputs/videos/....//....//etc/passwd",
        "file:///etc/passwd",
        "results/cat.mp4",
        "outputs/videos/",
        "",
    ],
)
def test_no_download_leads_out(shared_stand: Stand, path: str) -> None:
    if not shared_stand.has("cat"):
        submit(shared_stand, task_id="cat")
        shared_stand.run_next()
    for method in ("GET", "HEAD"):
        code, body = raw(shared_stand, f"/v1/files/download/{path}", method)
        assert code in (403, 404), (code, body)
        assert str(shared_stand.folder).encode() not in body
        assert b"root:" not in body
        assert (b'"detail"' in body) == (method == "GET")


def test_downloads_by_absolute_path(stand: Stand) -> None:
    submit(stand, task_id="cat")
    stand.run_next()
    inside = stand.folder / "outputs" / "videos" / "cat.mp4"
    assert raw(stand, f"/v1/files/download/{inside}") == (200, VIDEO)
    assert raw(stand, f"/v1/files/download{inside}") == (200, VIDEO)
    outside = stand.folder / "results" / "cat.mp4"
    assert outside.is_file()
    assert raw(stand, f"/v1/files/download/{outside}")[0] == 404


def test_ranges(stand: Stand) -> None:
    submit(stand, task_id="cat", save_result_path="holiday/my cät.mp4")
    stand.run_next()
    for url in (f"{stand.url}/v1/tasks/cat/result", f"{stand.url}/v1/files/download/outputs/videos/cat.mp4"):
        whole = requests.get(url, timeout=10)
        assert whole.headers["Accept-Ranges"] == "bytes"
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert "my%20c%C3%A4t.mp4" in whole.headers["Content-Disposition"]
        tag = whole.headers["ETag"]

        def part(value: str, url: str = url, **headers: str) -> requests.Response:
            return requests.get(url, headers={"Range": value, **headers}, timeout=10)

        first = part("bytes=0-9")
        assert (first.status_code, first.content) == (206, VIDEO[:10])
        assert first.headers["Content-Range"] == f"bytes 0-9/{len(VIDEO)}"
        assert part("bytes=-5").content == VIDEO[-5:]
        assert part("bytes=1000-").content == VIDEO[1000:]
        assert "multipart/byteranges" in part("bytes=0-1,5-6").headers["Content-Type"]
        beyond = part("bytes=999999-")
        assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(VIDEO)}")
        assert part("bytes=0-9", **{"If-Range": tag}).status_code == 206
        assert part("bytes=0-9", **{"If-Range": '"other"'}).status_code == 200
        head = requests.head(url, timeout=10)
        assert (head.status_code, head.headers["Content-Length"], head.content) == (200, str(len(VIDEO)), b"")
        for tags in (tag, f'"x", W/{tag}', "*"):
            same = requests.get(url, headers={"If-None-Match": tags}, timeout=10)
            assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", tag)


def test_sync_images(stand: Stand) -> None:
    url = f"{stand.url}/v1/tasks/image/sync"
    with stand.working():
        answer = requests.post(url, json={"prompt": "x"}, params={"poll_interval_seconds": "0.5"}, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert answer.content == CONTENT[MediaKind.IMAGE]
    assert answer.headers["Content-Disposition"].startswith("inline")
    with stand.working(failing="No luck."):
        failed = requests.post(url, json={"prompt": "x"}, timeout=10)
    assert (failed.status_code, failed.json()) == (500, {"detail": "No luck."})
    late = requests.post(
        url, json={"prompt": "x", "task_id": "late"}, params={"timeout_seconds": "0.05"}, timeout=10
    )
    assert late.status_code == 504
    assert status(stand, "late")["status"] == "cancelled"
    (item,) = requests.post(url, json={"prompt": "x"}, params={"timeout_seconds": "0"}, timeout=10).json()[
        "detail"
    ]
    assert item["loc"] == ["query", "timeout_seconds"]


def test_a_cancelled_sync_image(stand: Stand) -> None:
    answers: list[requests.Response] = []

    def ask() -> None:
        body = {"prompt": "x", "task_id": "doomed"}
        answers.append(requests.post(f"{stand.url}/v1/tasks/image/sync", json=body, timeout=10))

    asking = threading.Thread(target=ask)
    asking.start()
    stand.wait_claim()
    requests.delete(f"{stand.url}/v1/tasks/doomed", timeout=10)
    stand.store.leave("doomed")
    asking.join()
    assert answers[0].status_code == 409


def test_paths_without_the_dialect_s_jobs(stand: Stand, tmp_path: Path) -> None:
    with stand.working():
        requests.post(f"{stand.url}/predict", json={"prompt": "x"}, timeout=10)
    (foreign,) = stand.store._jobs  # pyright: ignore[reportPrivateUsage] # whatever its id is
    assert requests.get(f"{stand.url}/v1/tasks/{foreign}/status", timeout=10).status_code == 404
    assert requests.get(f"{stand.url}/v1/tasks/", timeout=10).json() == {}
