"""What lightx2v takes because its original does: defaults in any form, conversions, unknown fields."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from framegate.core.types import Task
from tests.support.http_stand import Stand, StandMaker, start_stand
from tests.support.lightx2v_client import refusal, status, submit

IMAGE = {"image_path": "https://example.com/cat.png"}
FALSE: tuple[Any, ...] = (False, 0, "false", "False", "FALSE", "0", "off", "no", "No", "f", "n", "", None)
NOTHING: tuple[Any, ...] = ([], None)
DEFAULTS: list[tuple[str, Any]] = [
    *(("use_prompt_enhancer", value) for value in FALSE),
    *(("reuse", value) for value in FALSE),
    *(("lora_strength", value) for value in (1, 1.0, "1", "1.0", " 1.0 ", None)),
    *(("sr_ratio", value) for value in (2, 2.0, "2", "2.0", None)),
    *(("talk_objects", value) for value in NOTHING),
    *(("resize_mode", value) for value in ("adaptive", "", None)),
    *(("target_shape", value) for value in (*NOTHING, "[]", " [ ] ", "")),
    *((name, value) for name in ("audio_path", "lora_name", "presigned_url") for value in ("", " ", None)),
    *((name, value) for name in ("image_mask_path", "last_frame_path", "video_path") for value in ("", None)),
    *((name, None) for name in ("data_bootstrap_room", "disagg_bootstrap_room", "i2i_denoise_strength")),
    *((name, value) for name in ("save_result_path", "aspect_ratio") for value in ("", None)),
    *((name, None) for name in ("task_id", "target_fps", "target_video_length", "seed")),
]


@pytest.fixture(scope="module")
def roomy_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as running:
        yield start_stand(running, tmp_path_factory.mktemp("roomy"), max_queued=10_000)


@pytest.mark.parametrize(("field", "value"), DEFAULTS)
def test_a_default_means_nothing(roomy_stand: Stand, field: str, value: Any) -> None:
    submit(roomy_stand, **{field: value})
    # Beside a field that has to be converted, and one that is not known
    submit(roomy_stand, **{field: value}, infer_steps="4", no_such_field=1)
    if field == "task_id":
        return
    text = "" if value is None else str(value)
    url = f"{roomy_stand.url}/v1/tasks/video/form"
    files = {"image_file": ("a.png", b"png")}
    sent = requests.post(url, data={"prompt": "x", field: text}, files=files, timeout=10)
    assert sent.status_code == 200, sent.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("use_prompt_enhancer", value) for value in ("true", "True", "on", "yes", "y", "1", "t")),
        ("reuse", "yes"),
        ("lora_strength", "0.5"),
        ("lora_strength", "0"),
        ("sr_ratio", "4"),
        ("lora_name", "style.safetensors"),
        ("audio_path", "a.wav"),
        ("talk_objects", '[{"audio": "a", "mask": "b"}]'),
        ("resize_mode", "fixed_shape"),
        ("data_bootstrap_room", "0"),
        ("presigned_url", "https://example.com/put"),
    ],
)
def test_another_value_is_refused_with_what_would_help(shared_stand: Stand, field: str, value: str) -> None:
    (item,) = refusal(shared_stand, **{field: value})
    assert (item["type"], item["loc"]) == ("unsupported_parameter", ["body", field])
    assert "lightx2v (preview)" in item["msg"] or field == "presigned_url"
    url = f"{shared_stand.url}/v1/tasks/video/form"
    files = {"image_file": ("a.png", b"png")}
    form = requests.post(url, data={"prompt": "x", field: value}, files=files, timeout=10)
    assert (form.status_code, form.json()["detail"][0]["loc"]) == (422, ["body", field])
    assert form.json()["detail"][0]["msg"] == item["msg"]


@pytest.mark.parametrize("value", ["maybe", "2", "tru", [], 1.5])
def test_a_boolean_that_is_none(shared_stand: Stand, value: Any) -> None:
    (item,) = refusal(shared_stand, use_prompt_enhancer=value)
    assert item["type"].startswith("bool")


def test_all_fields_of_the_original_s_forms(stand: Stand) -> None:
    common = {
        "prompt": "x",
        "save_result_path": "",
        "use_prompt_enhancer": "False",
        "negative_prompt": "",
        "infer_steps": "5",
        "seed": "42",
    }
    video = {
        **common,
        "num_fragments": "1",
        "target_video_length": "81",
        "video_duration": "5",
        "target_fps": "16",
    }
    files = {name: (f"{name}.png", b"png") for name in ("image_file", "last_frame_file")}
    nothing = {"audio_file": ("", b"")}
    sent = requests.post(
        f"{stand.url}/v1/tasks/video/form", data=video, files={**files, **nothing}, timeout=10
    )
    assert (sent.status_code, "Warning" in sent.headers) == (200, False), sent.text
    image = {**common, "aspect_ratio": "16:9"}
    sent = requests.post(f"{stand.url}/v1/tasks/image/form", data=image, files=nothing, timeout=10)
    assert sent.status_code == 200, sent.text
    assert sent.headers["Warning"] == '299 framegate "Ignored fields: audio_file"'


def test_unknown_fields(make_stand: StandMaker) -> None:
    lax, strict = make_stand(), make_stand({"lightx2v": {"unknown_fields": "refuse"}})
    body = {"prompt": "x", "no_such_field": {"a": 1}, "prefer_memory_result": True}
    sent = requests.post(f"{lax.url}/v1/tasks/video", json=body, timeout=10)
    assert sent.status_code == 200
    assert sent.headers["Warning"] == '299 framegate "Ignored fields: no_such_field, prefer_memory_result"'
    refused = requests.post(f"{strict.url}/v1/tasks/video", json=body, timeout=10).json()["detail"]
    assert {item["loc"][1] for item in refused} == {"no_such_field", "prefer_memory_result"}


def test_numbers_as_strings(stand: Stand) -> None:
    sent = submit(
        stand,
        infer_steps="7",
        seed="11",
        width="64",
        height=" 96 ",
        video_duration="1.5",
        target_fps="8",
        num_fragments="2",
    )
    job = stand.job(sent["task_id"])
    assert (job.shots[0].width, job.shots[0].height, job.shots[0].fps) == (64, 96, 8.0)
    assert (job.seed, job.shots[0].num_inference_steps, len(job.shots), job.request.duration) == (
        11,
        7,
        2,
        1.5,
    )
    shaped = submit(stand, target_shape=["96", "128"], i2i_denoise_strength=None)
    assert stand.job(shaped["task_id"]).shots[0].width == 128


def test_lists_in_forms(shared_stand: Stand) -> None:
    url = f"{shared_stand.url}/v1/tasks/video/form"
    for text, size in (("[96, 128]", (96, 128)), (' ["64","96"] ', (64, 96))):
        files = {"image_file": ("a.png", b"png")}
        sent = requests.post(url, data={"prompt": "x", "target_shape": text}, files=files, timeout=10)
        assert sent.status_code == 200, sent.text
        shot = shared_stand.job(sent.json()["task_id"]).shots[0]
        assert (shot.height, shot.width) == size
    for text, kind in (
        ("96,128", "list_type"),
        ("[96, 128", "list_type"),
        ("{}", "list_type"),
        ("[96]", "too_short"),
        ("[" * 10_000, "list_type"),
        (f"[{' ' * 5000}]", "list_type"),
    ):
        files = {"image_file": ("a.png", b"png")}
        sent = requests.post(url, data={"prompt": "x", "target_shape": text}, files=files, timeout=10)
        assert (sent.status_code, [item["type"] for item in sent.json()["detail"]]) == (422, [kind]), text


@pytest.mark.parametrize(("steps", "used"), [(0, 1), (-5, 1), (101, None), ("100000", None), (2**62, None)])
def test_steps_have_no_bounds(roomy_stand: Stand, steps: int | str, used: int | None) -> None:
    task_id = submit(roomy_stand, infer_steps=steps)["task_id"]
    made = roomy_stand.job(task_id).shots[0].num_inference_steps
    assert used is None or made == used
    (change,) = status(roomy_stand, task_id)["changes"]
    assert (change["field"], change["asked"], change["used"]) == ("infer_steps", int(steps), made)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1, -(2**63), 10**40, "-7", "18446744073709551615"])
def test_seeds_have_no_bounds(roomy_stand: Stand, seed: int | str) -> None:
    first, again = (submit(roomy_stand, seed=seed)["task_id"] for _ in range(2))
    assert roomy_stand.job(first).seed == roomy_stand.job(again).seed == int(seed) % 2**63
    (change,) = status(roomy_stand, first)["changes"]
    assert (change["field"], change["asked"], change["used"]) == (
        "seed",
        str(seed),
        str(roomy_stand.job(first).seed),
    )


def test_a_seed_that_is_no_number(shared_stand: Stand) -> None:
    for seed in ("x", 1.5, "9" * 5000, True, [1]):
        (item,) = refusal(shared_stand, seed=seed)
        assert item["loc"] == ["body", "seed"]
    raw = b'{"prompt": "x", "seed": ' + b"9" * 100_000 + b"}"
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{shared_stand.url}/v1/tasks/video", data=raw, headers=headers, timeout=10)
    assert answer.status_code == 422


def test_what_was_changed(stand: Stand) -> None:
    task_id = submit(stand, width=4095, height=33, target_fps=16, seed=7)["task_id"]
    shot = stand.job(task_id).shots[0]
    changes = {change["field"]: change for change in status(stand, task_id)["changes"]}
    assert changes["width"]["asked"] == 4095
    assert changes["width"]["used"] == shot.width
    assert changes["height"]["used"] == shot.height
    assert all(change["why"] for change in changes.values())
    assert status(stand, submit(stand, width=64, height=64)["task_id"])["changes"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"video_path": "https://example.com/a.mp4", "seed": 42},
        {"video_path": "https://example.com/a.mp4", "sr_ratio": 2},
        IMAGE,
        {**IMAGE, "prompt": ""},
        {**IMAGE, "prompt": " \n"},
        {**IMAGE, "prompt": None},
    ],
)
def test_a_prompt_is_optional_with_an_input(roomy_stand: Stand, fields: dict[str, Any]) -> None:
    sent = requests.post(f"{roomy_stand.url}/v1/tasks/video/", json=fields, timeout=10)
    assert sent.status_code == 200, sent.text
    job = roomy_stand.job(sent.json()["task_id"])
    assert not job.request.prompt.strip()
    if "image_path" in fields:
        image = requests.post(f"{roomy_stand.url}/v1/tasks/image/", json=fields, timeout=10)
        assert roomy_stand.job(image.json()["task_id"]).request.task == Task.IMAGE_TO_IMAGE


@pytest.mark.parametrize(
    "path", ["/v1/tasks/video", "/v1/tasks/", "/v1/tasks/image/", "/v1/tasks/image/sync"]
)
@pytest.mark.parametrize("prompt", [{}, {"prompt": ""}, {"prompt": " "}, {"prompt": None}])
def test_a_prompt_is_required_without_one(shared_stand: Stand, path: str, prompt: dict[str, Any]) -> None:
    answer = requests.post(shared_stand.url + path, json=prompt, timeout=10)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "prompt"]


@pytest.mark.parametrize(
    ("ratio", "shape"),
    [
        ("auto", None),
        ("Auto", None),
        ("", None),
        ("16:9", None),
        ("1:1", 1.0),
        ("9:16", 9 / 16),
        ("2.39:1", 2.39),
        ("4 : 3", 4 / 3),
        ("4x3", 4 / 3),
        ("3/2", 1.5),
    ],
)
def test_aspect_ratios(roomy_stand: Stand, ratio: str, shape: float | None) -> None:
    def made(**fields: Any) -> tuple[int, int]:
        shot = roomy_stand.job(submit(roomy_stand, "/v1/tasks/image/", **fields)["task_id"]).shots[0]
        return shot.width, shot.height

    width, height = made(aspect_ratio=ratio)
    if shape is None:
        assert (width, height) == made()
        assert made(aspect_ratio=ratio, **IMAGE) == made(**IMAGE)
    else:
        assert abs(width / height / shape - 1) < 0.03


@pytest.mark.parametrize(
    "ratio", ["wide", "0:1", "1:0", "16:9:1", "-1:2", "nan:1", "1:" + "9" * 20, 1.5, "1" * 40]
)
def test_ratios_that_are_none(shared_stand: Stand, ratio: Any) -> None:
    (item,) = refusal(shared_stand, "/v1/tasks/image/", aspect_ratio=ratio)
    assert item["loc"] == ["body", "aspect_ratio"]


def test_conflicts(shared_stand: Stand) -> None:
    for path, fields in (
        ("/v1/tasks/video", {**IMAGE, "video_path": "https://example.com/a.mp4"}),
        ("/v1/tasks/video", {"last_frame_path": "https://example.com/a.png"}),
        ("/v1/tasks/image", {"image_mask_path": "https://example.com/a.png"}),
        ("/v1/tasks/image", {"i2i_denoise_strength": 0.5}),
    ):
        (item,) = refusal(shared_stand, path, **fields)
        assert item["loc"] == ["body", list(fields)[-1]]
