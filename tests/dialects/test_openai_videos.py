"""openai-videos against the real server, by the official SDK."""

# pyright: reportDeprecated=false
# The SDK calls this API deprecated, since OpenAI no longer hosts it.

import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import openai
import pytest
import requests
from openai import AsyncOpenAI, OpenAI
from openai.types.video import Video
from PIL import Image

from framegate.server.testing import DialectContract
from tests.support.decoding import decoded, difference
from tests.support.running import RunningServer, eventually
from tests.support.small_models import SMALL_MODELS
from tests.support.tasks import results

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


@pytest.fixture(scope="module")
def client(small_server: RunningServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{small_server.url}/v1", api_key="none", timeout=60) as sdk:
        yield sdk


@pytest.fixture(scope="module")
def boat(client: OpenAI) -> Video:
    """A completed video."""
    return client.videos.create_and_poll(prompt="a boat", extra_body={"seed": 1})


def content(client: OpenAI, video: Video, variant: Any = "video") -> bytes:
    return client.videos.download_content(video.id, variant=variant).read()


def completed(client: OpenAI, video: Video) -> bytes:
    """What comes of it."""
    done = client.videos.poll(video.id)
    assert done.status == "completed", done.error
    assert (done.progress, done.size, done.seconds) == (100, video.size, video.seconds)
    return content(client, done)


class TestContract(DialectContract):
    posts = ("/v1/videos", "/v1/videos/edits", "/v1/videos/extensions")
    unknown_path = "/v1/videos/characters/none/at/all"

    @pytest.fixture
    def base_url(self, small_server: RunningServer) -> str:
        return small_server.url

    def is_error_body(self, body: Any) -> bool:
        return bool(body["error"].keys() == {"message", "type", "param", "code"})


@pytest.mark.smoke
def test_create_and_poll(client: OpenAI) -> None:
    before = time.time()
    video = client.videos.create_and_poll(
        prompt="a boat", model="sora-2", seconds="4", extra_body={"size": "320x192"}
    )
    assert (video.object, video.status, video.model, video.prompt) == (
        "video",
        "completed",
        "sora-2",
        "a boat",
    )
    assert re.fullmatch(r"video_[0-9a-f]{32}", video.id)
    assert (video.size, video.seconds, video.progress, video.error) == ("320x192", "4", 100, None)
    assert video.completed_at is not None
    assert video.expires_at == video.completed_at + 3600
    assert int(before) <= video.created_at <= video.completed_at <= time.time()
    assert decoded(content(client, video)) == (320, 192, 96, 24.0)


def test_the_default_model(client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat")
    assert (video.model, video.size, video.seconds) == ("sora-2", "128x96", "1")
    assert decoded(completed(client, video)) == (128, 96, 24, 24.0)


async def test_async_client(small_server: RunningServer) -> None:
    async with AsyncOpenAI(base_url=f"{small_server.url}/v1", api_key="none", timeout=60) as sdk:
        assert (await sdk.videos.create_and_poll(prompt="a boat")).status == "completed"


def test_polling_is_told_when_to_ask(client: OpenAI) -> None:
    created = client.videos.with_raw_response.create(prompt="a boat")
    assert 250 <= int(created.headers["openai-poll-after-ms"]) <= 5000
    video = client.videos.poll(created.parse().id)
    ended = client.videos.with_raw_response.retrieve(video.id)
    assert "openai-poll-after-ms" not in ended.headers


def test_extras(client: OpenAI) -> None:
    extras = {"seed": 7, "fps": 8, "num_frames": 12, "negative_prompt": "rain", "guidance_scale": 4.5}
    video = client.videos.create(prompt="a boat", extra_body={**extras, "steps": 3})
    first = completed(client, video)
    assert decoded(first) == (128, 96, 12, 8.0)
    assert video.seconds == "1.5"
    again = client.videos.create(prompt="a boat", extra_body={**extras, "num_inference_steps": 3})
    assert completed(client, again) == first
    other = client.videos.create(prompt="a boat", extra_body={**extras, "seed": 8})
    assert completed(client, other) != first


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"loras": [{"path": "a", "scale": 0.5}, {"path": "b", "scale": 1}]}, "loras"),
        ({"sead": 3}, "sead"),
        ({"seed": "x"}, "seed"),
        ({"seconds": "four"}, "seconds"),
        ({"seconds": "0"}, "seconds"),
        ({"seconds": "9000"}, "seconds"),
        ({"size": "big"}, "size"),
        ({"size": "1280x"}, "size"),
        ({"steps": 3, "num_inference_steps": 4}, "steps"),
        ({"model": "gpt-image"}, "model"),
        ({"prompt": " "}, "prompt"),
        ({"input_reference": {"file_id": "file_1"}}, "input_reference.file_id"),
        ({"input_reference": {"image_url": "ftp://x"}}, "input_reference.image_url"),
        ({"image_url": "http://127.0.0.1:9/x.png"}, "image_url"),
        ({"webhook_url": "https://example.com"}, "webhook_url"),
        ({"characters": [{"id": "a"}, {"id": "b"}]}, "characters"),
    ],
)
def test_what_is_refused(client: OpenAI, extra: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as form:
        client.videos.create(prompt="a boat", extra_body=extra)
    assert form.value.param == param
    assert form.value.type == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as json:
        client.post("/videos", body={"prompt": "a boat", **extra}, cast_to=Video)
    assert json.value.param == param


def test_what_is_not_there(client: OpenAI, boat: Video) -> None:
    none = f"video_{'0' * 32}"
    calls: list[Callable[[], Any]] = [
        lambda: client.videos.retrieve(none),
        lambda: client.videos.delete(none),
        lambda: client.videos.download_content(none),
        lambda: client.videos.remix(none, prompt="x"),
        lambda: client.videos.get_character("nobody000"),
        lambda: client.videos.list(after=none),
        lambda: client.videos.create(prompt="x", model="sora-9"),
        lambda: client.videos.create(prompt="x", extra_body={"characters": [{"id": "nobody000"}]}),
    ]
    for call in calls:
        with pytest.raises(openai.NotFoundError):
            call()
    with pytest.raises(openai.BadRequestError):
        client.get(f"/videos/{boat.id}/content?variant=poster", cast_to=object)


def test_sizes_that_no_model_makes(client: OpenAI) -> None:
    """They are fitted, and the answer says to what."""
    video = client.videos.create(prompt="a boat", extra_body={"size": "131x97"})
    assert str(video.size) == "130x96"
    assert decoded(completed(client, video))[:2] == (130, 96)


@pytest.mark.parametrize("named", [True, False])
def test_input_pictures(client: OpenAI, photo: Path, named: bool) -> None:
    data = photo.read_bytes()
    # A bare stream has no name, and no content type either.
    file: Any = ("photo.jpg", data, "image/jpeg") if named else io.BytesIO(data)
    with_file = completed(
        client, client.videos.create(prompt="x", input_reference=file, extra_body={"seed": 1})
    )
    plain = completed(client, client.videos.create(prompt="x", extra_body={"seed": 1}))
    assert with_file != plain


def test_pictures_by_address(client: OpenAI, pictures: str, photo: Path) -> None:
    extra = {"seed": 1}
    url = f"{pictures}/photo.jpg"
    uploaded = client.videos.create(prompt="x", input_reference=photo, extra_body=extra)
    whole = completed(client, uploaded)
    reference: Any = {"input_reference": {"image_url": url}}
    for fields in ({"image_url": url}, reference):
        assert completed(client, client.videos.create(prompt="x", extra_body={**extra, **fields})) == whole
        made = client.post("/videos", body={"prompt": "x", **extra, **fields}, cast_to=Video)
        assert completed(client, made) == whole


def test_input_videos(client: OpenAI, boat: Video) -> None:
    file = io.BytesIO(content(client, boat))
    video = client.videos.create(
        prompt="in blue", input_reference=file, seconds="4", extra_body={"size": "160x96"}
    )
    assert decoded(completed(client, video)) == (160, 96, 96, 24.0)


def test_broken_uploads(client: OpenAI) -> None:
    for data in (b"no picture", b"\0\0\0\x20ftypisom no video", b""):
        with pytest.raises(openai.BadRequestError) as refused:
            client.videos.create(prompt="x", input_reference=io.BytesIO(data))
        assert refused.value.param == "input_reference"
    with pytest.raises(openai.BadRequestError) as refused:
        client.videos.edit(prompt="x", video=b"no video")
    assert refused.value.param == "video"


def test_content(client: OpenAI, boat: Video) -> None:
    whole = content(client, boat)
    assert decoded(whole) == (128, 96, 24, 24.0)
    part = client.videos.with_raw_response.download_content(boat.id, extra_headers={"Range": "bytes=10-19"})
    assert part.http_response.status_code == 206
    assert part.http_response.content == whole[10:20]
    with Image.open(io.BytesIO(content(client, boat, "thumbnail"))) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (128, 96))
    with Image.open(io.BytesIO(content(client, boat, "spritesheet"))) as sheet:
        assert (sheet.format, sheet.size) == ("JPEG", (4 * 128, 4 * 96))


@pytest.mark.parametrize("variant", ["video", "thumbnail", "spritesheet"])
def test_content_is_known_again(small_server: RunningServer, boat: Video, variant: str) -> None:
    url = f"{small_server.url}/v1/videos/{boat.id}/content?variant={variant}"
    first, second = requests.get(url, timeout=60), requests.get(url, timeout=60)
    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.content == second.content
    unchanged = requests.get(url, headers={"If-None-Match": first.headers["ETag"]}, timeout=60)
    assert unchanged.status_code == 304
    head = requests.head(url, timeout=60)
    assert head.headers["Content-Length"] == str(len(first.content))


def test_content_that_is_not_ready(client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat", model="endless")
    # The SDK does not ask again and again.
    with pytest.raises(openai.NotFoundError, match="not ready yet"):
        client.videos.download_content(video.id)
    with pytest.raises(openai.BadRequestError, match="only a completed one"):
        client.videos.remix(video.id, prompt="x")
    assert client.videos.delete(video.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_a_cancelled_video_ends_its_poll(small_server: RunningServer, client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat", model="endless")
    eventually(lambda: client.videos.retrieve(video.id).status == "in_progress")
    assert small_server.run("jobs", "cancel", video.id).returncode == 0
    ended = client.videos.poll(video.id)
    assert ended.status == "cancelled"  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison] # OpenAI has no such status
    assert ended.error is not None
    with pytest.raises(openai.NotFoundError, match="was cancelled"):
        client.videos.download_content(video.id)


def test_lists(start_videos_server: Callable[[], OpenAI]) -> None:
    client = start_videos_server()
    empty = client.videos.list()
    assert (empty.data, empty.has_more) == ([], False)
    made = [client.videos.create(prompt=f"boat {number}").id for number in range(7)]
    assert [video.id for video in client.videos.list(order="asc")] == made
    assert [video.id for video in client.videos.list()] == made[::-1]
    # The iterator turns the pages.
    for size in (1, 3, 7, 100):
        assert [video.id for video in client.videos.list(limit=size)] == made[::-1]
        assert [video.id for video in client.videos.list(limit=size, order="asc")] == made
    page = client.videos.list(limit=3, after=made[5])
    assert ([video.id for video in page.data], page.has_more, page.last_id) == (made[4:1:-1], True, made[2])
    assert client.videos.list(limit=0).data == []
    client.videos.delete(made[3])
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made[:3] + made[4:]
    for wrong in ({"limit": 101}, {"order": "up"}):
        with pytest.raises(openai.BadRequestError):
            client.videos.list(extra_query=wrong)


@pytest.fixture
def start_videos_server(start_server: Callable[..., RunningServer]) -> Iterator[Callable[[], OpenAI]]:
    clients: list[OpenAI] = []

    def start() -> OpenAI:
        server = start_server(config=SMALL_MODELS)
        clients.append(OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def test_remixes(client: OpenAI, boat: Video) -> None:
    remix = client.videos.remix(boat.id, prompt="at night")
    assert (remix.remixed_from_video_id, remix.size, remix.seconds) == (boat.id, boat.size, boat.seconds)
    data = completed(client, remix)
    assert decoded(data) == (128, 96, 24, 24.0)
    assert data != content(client, boat)


def test_edits(client: OpenAI, boat: Video) -> None:
    data = content(client, boat)
    extra = {"seed": 5}
    uploaded = client.videos.edit(prompt="in blue", video=io.BytesIO(data), extra_body=extra)
    assert (uploaded.size, uploaded.seconds) == (boat.size, boat.seconds)
    edited = completed(client, uploaded)
    assert decoded(edited) == (128, 96, 24, 24.0)
    body = {"prompt": "in blue", "video": {"id": boat.id}, **extra}
    assert completed(client, client.post("/videos/edits", body=body, cast_to=Video)) == edited
    named = client.videos.edit(prompt="in blue", video=b"", extra_body={**extra, "video": {"id": boat.id}})
    assert completed(client, named) == edited
    with pytest.raises(openai.BadRequestError) as nothing:
        client.videos.edit(prompt="in blue", video=b"")
    assert nothing.value.param == "video"


def test_extensions(client: OpenAI, boat: Video) -> None:
    original = content(client, boat)
    extra = {"seed": 5}
    video = client.videos.extend(
        prompt="it sails on", seconds="4", video=io.BytesIO(original), extra_body=extra
    )
    assert (video.size, video.seconds) == ("128x96", "5")
    data = completed(client, video)
    assert decoded(data) == (128, 96, 24 + 96, 24.0)
    assert apart(original, data, frames=24) < 4
    # The seam is no wider than a step within the continuation, and repeats no frame.
    usual = max(difference(data, number, number + 1) for number in range(40, 44))
    assert 0 < difference(data, 23, 24) < 3 * usual + 3
    named = client.videos.extend(
        prompt="it sails on", seconds="4", video=b"", extra_body={**extra, "video": {"id": boat.id}}
    )
    assert completed(client, named) == data
    # It can be extended once more.
    longer = client.post(
        "/videos/extensions",
        body={"prompt": "and on", "seconds": "4", "video": {"id": named.id}},
        cast_to=Video,
    )
    assert longer.seconds == "9"
    assert decoded(completed(client, longer))[2] == 24 + 96 + 96


def apart(one: bytes, other: bytes, *, frames: int) -> float:
    """The mean distance of two videos' first frames' pixels."""
    total = 0.0
    with av.open(io.BytesIO(one), "r") as first, av.open(io.BytesIO(other), "r") as second:
        for number, (a, b) in enumerate(zip(first.decode(video=0), second.decode(video=0), strict=False)):
            if number < frames:
                pixels = a.to_ndarray(format="rgb24").astype(float) - b.to_ndarray(format="rgb24")
                total += float(abs(pixels).mean())
    return total / frames


def test_characters(client: OpenAI, boat: Video) -> None:
    name = "Mossy, a teapot with moss on its lid that dreams of the open sea"
    character = client.videos.create_character(name=name, video=io.BytesIO(content(client, boat)))
    assert character.id is not None
    found = client.videos.get_character(character.id)
    assert (found.id, found.name, found.created_at) == (character.id, name, character.created_at)
    extra = {"seed": 1}
    plain = completed(client, client.videos.create(prompt="it waves", extra_body=extra))
    by_id = {**extra, "characters": [{"id": character.id}]}
    named = completed(client, client.videos.create(prompt="it waves", extra_body=by_id))
    assert named != plain
    mentioned = completed(client, client.videos.create(prompt=f"@{character.id} waves", extra_body=extra))
    nobody = completed(client, client.videos.create(prompt="@nobody000 waves", extra_body=extra))
    assert mentioned != nobody
    for wrong in (b"", b"no video"):
        with pytest.raises(openai.BadRequestError) as refused:
            client.videos.create_character(name="x", video=wrong)
        assert refused.value.param == "video"
    with pytest.raises(openai.BadRequestError) as unnamed:
        client.videos.create_character(name="x" * 81, video=b"x")
    assert unnamed.value.param == "name"


def test_all_goes_when_its_time_is_over(start_server: Callable[..., RunningServer]) -> None:
    config = SMALL_MODELS + '\n[storage]\nretention = "{}"\n'
    server = start_server(config=config.replace("{}", "1h"))
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60) as client:
        video = client.videos.create_and_poll(prompt="a boat")
        assert video.completed_at is not None
        assert video.expires_at == video.completed_at + 3600
        variants: list[Any] = ["video", "thumbnail", "spritesheet"]
        for variant in variants:
            assert content(client, video, variant)
        assert len(results(server)) == 3
        server.stop()
        server.restart(config=config.replace("{}", "1s"))
        eventually(lambda: not results(server), what="the end of its files")
        for variant in variants:
            with pytest.raises(openai.NotFoundError, match="retention time is over"):
                client.videos.download_content(video.id, variant=variant)
        assert client.videos.retrieve(video.id).status == "completed"
