"""The fields that OpenAI's SDKs and other clients of its videos and images send."""

# pyright: reportDeprecated=false
# The SDK calls the videos API deprecated, since OpenAI no longer hosts it.

import base64
import io
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import openai
import pytest
import requests
from openai import OpenAI
from openai.types import image_edit_params, image_generate_params
from PIL import Image

from tests.support.running import RunningServer

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")

SMALL: dict[str, Any] = {"prompt": "a boat", "size": "128x96", "seconds": "1"}
METADATA = {"order": "7", "note": "für Anna", "empty": ""}
SIZE: Any = "128x96"


@pytest.fixture(scope="module")
def server(small_server: RunningServer) -> RunningServer:
    return small_server


def post(server: RunningServer, path: str, **body: Any) -> requests.Response:
    return requests.post(f"{server.url}{path}", timeout=60, **body)


def steps(server: RunningServer, job_id: str) -> Any:
    [job] = [job for job in server.json("jobs", "list") if job["id"] == job_id]
    return job["shots"][0]["num_inference_steps"], job["shots"][0]["seed"]


def test_metadata_is_kept_with_a_video(client: OpenAI, server: RunningServer) -> None:
    sent = [
        client.videos.create(prompt="a boat", extra_body={**SMALL, "metadata": METADATA, "user": "u"}).id,
        post(server, "/v1/videos", json={**SMALL, "metadata": METADATA, "safety_identifier": "s"}).json()[
            "id"
        ],
        post(server, "/v1/videos", data={**SMALL, "metadata": json.dumps(METADATA)}).json()["id"],
    ]
    for video_id in sent:
        assert (client.videos.poll(video_id).model_extra or {})["metadata"] == METADATA
    listed = {video.id: video.model_extra or {} for video in client.videos.list(limit=100)}
    assert [listed[video_id]["metadata"] for video_id in sent] == [METADATA] * 3
    remix = client.videos.remix(sent[0], prompt="at night", extra_body={"metadata": {"a": "b"}})
    assert (remix.model_extra or {})["metadata"] == {"a": "b"}
    assert "metadata" not in post(server, "/v1/videos", json=SMALL).json()


@pytest.mark.parametrize(
    "metadata",
    [{str(number): "x" for number in range(17)}, {"k" * 65: "x"}, {"k": "x" * 513}, {"k": 1}, ["k"], "k"],
)
@pytest.mark.parametrize("path", ["/v1/videos", "/v1/images/generations"])
def test_metadata_that_is_none(server: RunningServer, path: str, metadata: Any) -> None:
    refused = post(server, path, json={"prompt": "a boat", "metadata": metadata})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith("metadata")


def test_json_nulls_in_a_form_count_as_omitted(server: RunningServer) -> None:
    made = post(server, "/v1/videos", data={**SMALL, "metadata": "null", "extra_body": "null"})
    assert made.status_code == 200, made.text
    assert "metadata" not in made.json()


def test_the_most_metadata(server: RunningServer) -> None:
    metadata = {f"{number:064}": "ü" * 512 for number in range(16)}
    assert post(server, "/v1/videos", json={**SMALL, "metadata": metadata}).json()["metadata"] == metadata


@pytest.mark.parametrize("holder", ["extra_body", "extra_params"])
def test_known_names_in_a_literal_holder_act(server: RunningServer, holder: str) -> None:
    extras = {"num_inference_steps": 3, "seed": 5, "flow_shift": 8.0}
    for body in (
        {"json": {**SMALL, holder: extras}},
        {"data": {**SMALL, holder: json.dumps(extras)}},
        {"data": {**SMALL, **{f"{holder}[{name}]": value for name, value in extras.items()}}},
        {"json": {**SMALL, "seed": 5, holder: extras}},
        {"data": {**SMALL, "seed": "5", holder: json.dumps(extras)}},
    ):
        made = post(server, "/v1/videos", **body)
        assert made.status_code == 200, made.text
        assert f"{holder}.flow_shift" in made.headers["Warning"]
        assert steps(server, made.json()["id"]) == (3, 5)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"json": {**SMALL, "seed": 4, "extra_body": {"seed": 5}}}, "extra_body.seed"),
        ({"json": {**SMALL, "extra_body": {"seed": 4}, "extra_params": {"seed": 5}}}, "extra_params.seed"),
        ({"json": {**SMALL, "extra_body": {"seed": "five"}}}, "seed"),
        ({"json": {**SMALL, "extra_body": {"steps": 4, "num_inference_steps": 5}}}, "steps"),
        ({"json": {**SMALL, "extra_body": "seed"}}, "extra_body"),
        ({"data": {**SMALL, "extra_body": "seed"}}, "extra_body"),
        ({"data": {**SMALL, "extra_body": "[" * 100_000}}, "extra_body"),
        ({"data": {**SMALL, "seed": "4", "extra_body": '{"seed": 5}'}}, "extra_body.seed"),
    ],
)
def test_holders_that_contradict(server: RunningServer, body: Any, param: str) -> None:
    for path in ("/v1/videos", "/v1/images/generations"):
        if path == "/v1/videos" or "json" in body:
            sent = {
                kind: {k: v for k, v in fields.items() if k != "seconds"} for kind, fields in body.items()
            }
            refused = post(server, path, **sent)
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


def test_holders_of_images(client: OpenAI, server: RunningServer, photo: Path) -> None:
    whole = client.images.generate(prompt="a boat", size=SIZE, extra_body={"seed": 5})
    held = post(
        server,
        "/v1/images/generations",
        json={"prompt": "a boat", "size": SIZE, "extra_body": {"seed": 5, "shift": 1}, "metadata": METADATA},
    )
    assert held.json()["data"][0]["b64_json"] == (whole.data or [])[0].b64_json
    assert held.json()["metadata"] == METADATA
    assert "extra_body.shift" in held.headers["Warning"]
    form = post(
        server,
        "/v1/images/edits",
        data={"prompt": "x", "size": SIZE, "extra_body[seed]": "5", "metadata[a]": "b", "extra_params": "{}"},
        files={"image": photo.read_bytes()},
    )
    assert (form.json()["seed"], form.json()["metadata"]) == (5, {"a": "b"})


REFUSED: dict[str, Any] = {
    "svg": {"model": "x"},
    "frame_count": 4,
    "frame_duration_ms": 100,
    "markup": b"x",
    "output_format": "gif",
    "background": "transparent",
}
"""What would change the result."""
SPECIAL = {"prompt", "image", "mask", "model", "n", "size", "stream", "output_compression", "partial_images"}


@pytest.mark.parametrize(
    "params", [image_generate_params.ImageGenerateParamsBase, image_edit_params.ImageEditParamsBase]
)
def test_every_parameter_of_the_sdk_is_taken_or_refused_by_name(
    client: OpenAI, photo: Path, params: Any
) -> None:
    edits = "image" in get_type_hints(params)
    call: Any = client.images.edit if edits else client.images.generate
    given: dict[str, Any] = {"prompt": "a boat", "size": SIZE, **({"image": photo} if edits else {})}
    names = set(get_type_hints(params)) - SPECIAL
    hints = {name: value_of(get_type_hints(params)[name]) for name in names - set(REFUSED)}
    call(**given, **hints, output_format="png", background="opaque")
    for name in names & set(REFUSED):
        with pytest.raises(openai.BadRequestError, match="No model here") as refused:
            call(**given, **{name: REFUSED[name]})
        assert (refused.value.param or "").partition("[")[0] == name


def value_of(annotation: Any) -> Any:
    """A value of a type of the SDK: the first literal, or a text."""
    if annotation is str:
        return "text"
    for inner in get_args(annotation):
        if isinstance(inner, str):
            return inner
        if inner is not type(None) and (found := value_of(inner)) is not None:
            return found
    return None


def test_hints_of_the_api(server: RunningServer) -> None:
    hints = {
        "complexity": "high",
        "moderation": "low",
        "style": "natural",
        "input_fidelity": "high",
        "prompt_cache_key": "k",
        "user": "u",
        "safety_identifier": "s",
        "quality": None,
    }
    made = post(server, "/v1/images/generations", json={"prompt": "a boat", "size": SIZE, **hints})
    assert (made.status_code, made.headers.get("Warning")) == (200, None)


@pytest.mark.parametrize(
    ("model", "kind"),
    [("dall-e-2", "url"), ("dall-e-3", "url"), ("gpt-image-1", "b64_json"), (None, "b64_json")],
)
def test_the_default_format_is_the_models(client: OpenAI, model: str | None, kind: str) -> None:
    [image] = client.images.generate(prompt="a boat", model=model, size=SIZE).data or []
    assert getattr(image, kind)
    assert not getattr(image, "b64_json" if kind == "url" else "url")
    other: Any = "b64_json" if kind == "url" else "url"
    [image] = (
        client.images.generate(prompt="a boat", model=model, size=SIZE, response_format=other).data or []
    )
    assert getattr(image, other)


def as_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def test_edits_in_json(client: OpenAI, server: RunningServer, photo: Path, pictures: str) -> None:
    mask = as_png(Image.new("L", (8, 8), 255))
    link, uri = f"{pictures}/{photo.name}", data_uri(photo.read_bytes())
    fields: dict[str, Any] = {"prompt": "in oil", "size": "120x80", "seed": 1}
    by_form = client.images.edit(prompt="in oil", image=photo, size="120x80", extra_body={"seed": 1})  # pyright: ignore[reportArgumentType]
    for image in (link, uri, f"  {uri}\n"):
        made = post(server, "/v1/images/edits", json={**fields, "images": [{"image_url": image}]})
        assert made.status_code == 200, made.text
        assert made.json()["data"][0]["b64_json"] == (by_form.data or [])[0].b64_json
    fields["size"] = "auto"
    several: Any = [photo, photo]
    by_form = client.images.edit(
        prompt="in oil",
        image=several,
        mask=("m.png", mask),
        extra_body={"seed": 1, "i2i_denoise_strength": 0.5},
    )
    made = post(
        server,
        "/v1/images/edits",
        json={
            **fields,
            "images": [{"image_url": link}, {"image_url": uri}],
            "mask": {"image_url": data_uri(mask)},
            "strength": 0.5,
        },
    )
    assert made.json()["data"][0]["b64_json"] == (by_form.data or [])[0].b64_json


REFUSED_EDITS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "images", "required"),
    ({"images": []}, "images", ""),
    ({"images": [{"image_url": "data:,"}] * 17}, "images", ""),
    ({"images": [{"file_id": "file-1"}]}, "images[0].file_id", "no files API"),
    ({"images": [{}]}, "images[0].image_url", "image_url"),
    ({"images": [{"image_url": "ftp://example.com/a.png"}]}, "images[0].image_url", "ftp"),
    ({"images": [{"image_url": "/etc/passwd"}]}, "images[0].image_url", "neither"),
    ({"images": [{"image_url": "data:image/png;base64,AAAA"}]}, "images", "image"),
    ({"images": [{"image_url": "data:image/png;base64,AAAA"}] * 2}, "images", "image"),
    ({"mask": {"file_id": "file-1"}}, "mask.file_id", "no files API"),
    ({"mask": {"image_url": "data:image/png;base64,AAAA"}}, "mask", "image"),
    ({"i2i_denoise_strength": 0.5, "strength": 0.4}, "i2i_denoise_strength", "strength"),
    ({"i2i_denoise_strength": 1.5}, "i2i_denoise_strength", ""),
    ({"markup": {"image_url": "data:,"}}, "markup", "markup"),
]


@pytest.mark.parametrize(("fields", "param", "word"), REFUSED_EDITS)
def test_edits_in_json_that_are_refused(
    server: RunningServer, photo: Path, fields: dict[str, Any], param: str, word: str
) -> None:
    image = (
        {} if "images" in fields or not fields else {"images": [{"image_url": data_uri(photo.read_bytes())}]}
    )
    refused = post(server, "/v1/images/edits", json={"prompt": "in oil", **image, **fields})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, param)
    assert word in error["message"]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_files_of_images_are_sent_in_ranges(client: OpenAI, kind: Any) -> None:
    answer = client.images.generate(
        prompt="a boat", size=SIZE, output_format=kind, response_format="url", extra_body={"seed": 3}
    )
    link = (answer.data or [])[0].url or ""
    whole = requests.get(link, timeout=60)
    etag = whole.headers["ETag"]
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Content-Disposition"].startswith("inline")
    part = requests.get(link, headers={"Range": "bytes=10-19"}, timeout=60)
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole.content)}"
    assert requests.get(link, headers={"Range": "bytes=-5"}, timeout=60).content == whole.content[-5:]
    beyond = requests.get(link, headers={"Range": "bytes=99999999-"}, timeout=60)
    assert beyond.status_code == 416
    head = requests.head(link, timeout=60)
    assert (head.headers["ETag"], int(head.headers["Content-Length"])) == (etag, len(whole.content))
    unchanged = requests.get(link, headers={"If-None-Match": etag}, timeout=60)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    other = requests.get(link, headers={"Range": "bytes=0-1", "If-Range": '"other"'}, timeout=60)
    assert (other.status_code, other.content) == (200, whole.content)


def test_browsers_may_read_when_to_poll(server: RunningServer) -> None:
    made = post(server, "/v1/videos", json=SMALL, headers={"Origin": "http://localhost:3000"})
    exposed = made.headers["Access-Control-Expose-Headers"].lower()
    assert {"openai-poll-after-ms", "x-should-retry", "retry-after"} <= set(
        exposed.replace(" ", "").split(",")
    )
    assert "openai-poll-after-ms" in made.headers
