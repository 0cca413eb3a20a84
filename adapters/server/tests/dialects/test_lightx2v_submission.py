"""lightx2v's submissions: names, lengths, media, forms, refusals."""

import os
from typing import Any

import pytest
import requests

from framegate.core.ports import Base64Source, BytesSource, UrlSource
from framegate.core.types import MediaKind, Task
from framegate.server.dialects.lightx2v.result_names import (
    ForbiddenPath,
    download_names,
    result_name,
    task_id_in,
)
from tests.support.http_stand import BROKEN, Stand, StandMaker
from tests.support.lightx2v_client import refusal, submit

BASE64 = "iVBORw0KGgo" * 8


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
        ("a:b", "a:b.mp4"),
        ("50% off", "50% off.mp4"),
        ("/a.mp4", "a.mp4"),
        ("/abs/dir/out.mp4", "out.mp4"),
        ("/abs/dir/", "dir.mp4"),
        ("//host/share/out", "out.mp4"),
        ("../a.mp4", "a.mp4"),
        ("a/../b.mp4", "b.mp4"),
        ("a/../../b", "b.mp4"),
        ("~/a", "a.mp4"),
        ("C:/a", "a.mp4"),
        ("C:\\videos\\a.mp4", "a.mp4"),
        ("..\\..\\a", "a.mp4"),
        ("a\\b", "a/b.mp4"),
        ("s3://x/y", "y.mp4"),
        ("file:///x/y.mp4", "y.mp4"),
        ("/" + "long/" * 800 + "out.mp4", "out.mp4"),
    ],
)
def test_result_names(wanted: str, name: str, shared_stand: Stand) -> None:
    assert result_name(wanted, MediaKind.VIDEO) == name
    assert submit(shared_stand, save_result_path=wanted)["save_result_path"] == name


@pytest.mark.parametrize(
    "wanted",
    [
        "a\0",
        "a\nb",
        "%2e%2e/a",
        "/x/%2e%2e",
        ".",
        "./",
        "..",
        "/",
        "../..",
        "a/..",
        "~",
        "C:\\",
        "C:",
        "x" * 520,
    ],
)
def test_names_without_a_name(wanted: str, shared_stand: Stand) -> None:
    with pytest.raises(ValueError, match="Input should"):
        result_name(wanted, MediaKind.VIDEO)
    (item,) = refusal(shared_stand, save_result_path=wanted)
    assert item["loc"] == ["body", "save_result_path"]


def test_download_names() -> None:
    assert download_names("/outputs/videos/ID.mp4", "/data/outputs") == ["outputs/videos/ID.mp4", "ID.mp4"]
    assert download_names("/data/outputs/videos/ID.mp4", "/data/outputs")[1] == "ID.mp4"
    assert download_names("/outputs/images/a/b.png", "/data/outputs")[1] == "a/b.png"
    assert download_names("50% off.mp4", "/data/outputs") == ["50% off.mp4"]
    assert task_id_in("ID.mp4") == "ID"
    assert task_id_in("a/ID.mp4") == ""
    assert task_id_in("ID.txt") == "ID.txt"
    for path in ("../x", "a/../b", "a\\b", "%2e%2e/x", "a\0b"):
        with pytest.raises(ForbiddenPath):
            download_names(path, "/data/outputs")


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
    image = {"image_path": "https://example.com/cat.png"}
    assert stand.job(submit(stand, **image)["task_id"]).request.task == Task.IMAGE_TO_VIDEO
    submit(stand, **image, last_frame_path="data:image/png;base64,AAAA")
    submit(stand, image_path=f" {BASE64}\n")
    submit(stand, image_path="cat.png")
    submit(stand, image_path=str(inputs / "cat.png"))
    video = submit(stand, video_path="HTTPS://example.com/a.mp4")
    assert stand.job(video["task_id"]).request.task == Task.VIDEO_TO_VIDEO
    nothing: list[dict[str, Any]] = [{}, {"image_path": ""}, {"image_path": None}]
    for empty in nothing:
        assert stand.job(submit(stand, **empty)["task_id"]).request.task == Task.TEXT_TO_VIDEO
    edited = submit(stand, "/v1/tasks/image/", **image, i2i_denoise_strength=0.4)
    assert stand.job(edited["task_id"]).request.strength == 0.4
    assert stand.media.taken == [
        UrlSource("https://example.com/cat.png"),
        UrlSource("https://example.com/cat.png"),
        Base64Source("data:image/png;base64,AAAA"),
        Base64Source(BASE64),
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
    (item,) = refusal(stand, last_frame_path="../secret.png", image_path=BASE64)
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
        ({}, {}, ["image_file"]),
        ({"prompt": "x", "image_file": "text"}, {"other": b"x"}, ["image_file"]),
        ({"prompt": "x", "seed": "a", "width": "1"}, {"image_file": b"x"}, ["seed", "width"]),
        ({"prompt": ["x", "y"]}, {"image_file": b"x"}, ["prompt"]),
        ({"prompt": "x", "use_prompt_enhancer": "true"}, {"image_file": b"x"}, ["use_prompt_enhancer"]),
        ({"prompt": "x"}, {"image_file": b"x", "audio_file": b"x"}, ["audio_file"]),
    ],
)
def test_wrong_forms(
    shared_stand: Stand, data: dict[str, Any], files: dict[str, bytes], wrong: list[str]
) -> None:
    uploads: dict[str, Any] = {name: (f"{name}.png", content) for name, content in files.items()}
    uploads = uploads or {"": (None, "")}
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
