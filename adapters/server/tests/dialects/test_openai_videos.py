"""openai-videos on in-memory ports: its objects, and who can see them."""

# pyright: reportDeprecated=false
# The SDK calls this API deprecated, since OpenAI no longer hosts it.

import hashlib
import threading
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import requests
from openai import OpenAI

from framegate.core.jobs import JobError
from framegate.core.types import Task
from tests.support.http_stand import Stand, StandMaker, own_dialects

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API is scheduled:DeprecationWarning")


def sdk(stand: Stand, key: str = "none", prefix: str = "") -> OpenAI:
    return OpenAI(base_url=f"{stand.url}{prefix}/v1", api_key=key, max_retries=0, timeout=10)


@pytest.fixture
def client(stand: Stand) -> Iterator[OpenAI]:
    with sdk(stand) as client:
        yield client


def test_states(stand: Stand, client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat", seconds="8", size="720x1280")
    assert (video.status, video.progress, video.completed_at, video.expires_at) == ("queued", 0, None, None)
    assert (video.size, video.seconds, video.error) == ("720x1280", "8", None)
    job = stand.claim()
    stand.store.advance(job.id, 0.426)
    video = client.videos.retrieve(video.id)
    assert (video.status, video.progress) == ("in_progress", 42)
    stand.finish(job)
    video = client.videos.retrieve(video.id)
    assert (video.status, video.progress) == ("completed", 100)


def test_failed_jobs(stand: Stand, client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat")
    stand.store.fail(stand.claim().id, JobError("out_of_memory", "Ask for a smaller size."))
    video = client.videos.poll(video.id)
    assert video.status == "failed"
    assert video.error is not None
    assert (video.error.code, video.error.message) == ("out_of_memory", "Ask for a smaller size.")
    assert (video.completed_at, video.expires_at) == (None, None)
    with pytest.raises(openai.NotFoundError, match="Ask for a smaller size"):
        client.videos.download_content(video.id)


def test_results_that_were_cleaned_up(stand: Stand, client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat")
    job = stand.run_next()
    for key in job.files:
        stand.artifacts.delete(key)
    assert client.videos.retrieve(video.id).status == "completed"
    for variant in ("video", "thumbnail", "spritesheet"):
        with pytest.raises(openai.NotFoundError, match="retention time is over") as gone:
            client.videos.download_content(video.id, variant=variant)
        assert gone.value.param == "video_id"
    with pytest.raises(openai.NotFoundError, match="cleaned up"):
        client.videos.remix(video.id, prompt="x")


def test_deleting_while_it_runs(stand: Stand, client: OpenAI) -> None:
    video = client.videos.create(prompt="a boat")
    stand.claim()
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)
    with pytest.raises(openai.NotFoundError):
        client.videos.delete(video.id)


def test_a_source_s_images_go_with_it(make_stand: StandMaker) -> None:
    """The inputs of a refused request are removed."""
    stand = make_stand(max_queued=1)
    with sdk(stand) as client:
        client.videos.create(prompt="a boat")
        with pytest.raises(openai.InternalServerError) as full:
            client.videos.create(prompt="x", extra_body={"image_url": "https://example.com/cat.png"})
    assert full.value.status_code == 503
    assert int(full.value.response.headers["Retry-After"]) > 0
    assert len(stand.media.discarded) == len(stand.media.taken)


def test_inputs(stand: Stand, client: OpenAI) -> None:
    client.videos.create(prompt="x", extra_body={"image_url": "https://example.com/cat.png"})
    client.videos.create(
        prompt="x", extra_body={"input_reference": {"image_url": "data:image/png;base64,AAAA"}}
    )
    client.videos.create(prompt="x", input_reference=b"\0\0\0\x20ftypisom")
    client.videos.create(prompt="x", input_reference=b"\0\0\0\x20ftypavif")
    tasks = [job.request.task.value for job in stand.jobs()]
    assert tasks == ["image-to-video", "image-to-video", "video-to-video", "image-to-video"]


def test_an_edit_keeps_its_source_s_shape(stand: Stand, client: OpenAI) -> None:
    """The stand's videos are 640×640, with 48 frames at 24 fps."""
    edit = client.videos.edit(prompt="x", video=b"video")
    assert (edit.size, edit.seconds) == ("640x640", "2")
    other = client.videos.edit(prompt="x", video=b"video", extra_body={"size": "320x240", "seconds": "3"})
    assert (other.size, other.seconds) == ("320x240", "3")
    extended = client.videos.extend(prompt="x", video=b"video", seconds="12")
    assert (extended.size, extended.seconds) == ("640x640", "14")
    with pytest.raises(openai.BadRequestError) as resized:
        client.videos.extend(prompt="x", video=b"video", seconds="4", extra_body={"size": "320x240"})
    assert resized.value.param == "size"
    with pytest.raises(openai.BadRequestError) as endless:
        client.videos.extend(prompt="x", video=b"video", seconds="4", extra_body={"num_frames": 7000})
    assert endless.value.param == "num_frames"


def test_keys(make_stand: StandMaker) -> None:
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "max_active": 2}
        for name in ("alice", "bob")
    ]
    stand = make_stand(auth={"keys": keys})
    with sdk(stand, "mallory") as mallory, pytest.raises(openai.AuthenticationError) as unknown:
        mallory.videos.list()
    assert unknown.value.code == "invalid_api_key"
    with sdk(stand, "alice") as alice, sdk(stand, "bob") as bob:
        video = alice.videos.create(prompt="a boat")
        for call in (bob.videos.retrieve, bob.videos.delete, bob.videos.download_content):
            with pytest.raises(openai.NotFoundError):
                call(video.id)
        with pytest.raises(openai.NotFoundError):
            bob.videos.remix(video.id, prompt="x")
        assert bob.videos.list().data == []
        alice.videos.create(prompt="a boat")
        with pytest.raises(openai.RateLimitError) as limited:
            alice.videos.create(prompt="a boat")
        assert limited.value.code == "rate_limit_exceeded"
        assert [job.id for job in alice.videos.list()] == [job.id for job in reversed(stand.jobs())]


def test_other_dialects_jobs_are_no_videos(stand: Stand, client: OpenAI) -> None:
    task = requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "mine"}, timeout=10)
    assert task.status_code == 200
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve("mine")
    assert client.videos.list().data == []


def test_wrong_methods_and_large_bodies(make_stand: StandMaker) -> None:
    stand = make_stand(server={"max_body": 2000})
    for method, path, status in (
        ("PUT", "/v1/videos", 405),
        ("PATCH", "/v1/videos/video_1", 405),
        ("GET", "/v1/videos/characters", 405),
        ("GET", "/v1/videos/video_1/none", 404),
    ):
        answer = requests.request(method, stand.url + path, timeout=10)
        assert answer.status_code == status, path
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    with sdk(stand) as client:
        with pytest.raises(openai.APIStatusError) as json:
            client.post("/videos", body={"prompt": "x" * 3000}, cast_to=object)
        with pytest.raises(openai.APIStatusError) as form:
            client.videos.create(prompt="x", input_reference=b"x" * 3000)
    assert (json.value.status_code, form.value.status_code) == (413, 413)
    assert json.value.type == form.value.type == "invalid_request_error"


def test_under_a_prefix(make_stand: StandMaker) -> None:
    options: dict[str, Any] = {"openai-videos": {"prefix": "/openai", "model": "sora-2-pro"}}
    stand = make_stand(options=options)
    with sdk(stand, prefix="/openai") as client:
        video = client.videos.create(prompt="a boat")
        assert video.model == "sora-2-pro"
        stand.run_next()
        assert client.videos.download_content(video.id).read()
        with pytest.raises(openai.NotFoundError):
            client.videos.retrieve("none")
    with sdk(stand) as root, pytest.raises(openai.NotFoundError):
        root.videos.retrieve(video.id)


def test_one_image_for_concurrent_requests(stand: Stand, client: OpenAI) -> None:
    """A file that is not a video has no images: all requests get the same error, and no file remains."""
    video = client.videos.create(prompt="a boat")
    job = stand.run_next()
    statuses: list[int] = []

    def ask() -> None:
        url = f"{stand.url}/v1/videos/{video.id}/content?variant=thumbnail"
        statuses.append(requests.get(url, timeout=10).status_code)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [500] * 5
    assert all(stand.artifacts.path(key) is None for key in job.files[1:])


@pytest.mark.parametrize("moved", sorted(own_dialects()))
def test_beside_every_other_dialect(make_stand: StandMaker, moved: str) -> None:
    """All dialects are at the root, except one that is mounted where another's paths begin."""
    # At /v1, the server's own API would have a path of sora2api.
    stand = make_stand(options={moved: {"prefix": "/v1/own" if moved == "framegate" else "/v1"}})
    with sdk(stand, prefix="/v1" if moved == "openai-videos" else "") as client:
        video = client.videos.create(prompt="a boat")
        stand.run_next()
        assert client.videos.retrieve(video.id).status == "completed"
        assert client.videos.download_content(video.id).read()


def test_deleting_while_listing(stand: Stand, client: OpenAI) -> None:
    made = [client.videos.create(prompt="a boat").id for _ in range(8)]
    for _ in made[:4]:
        stand.run_next()
    removed = [client.videos.delete(video.id).id for video in client.videos.list(limit=3)]
    assert removed == made[::-1]
    assert client.videos.list().data == []
    with pytest.raises(
        openai.NotFoundError, match="There is no video 'video_1' in this list to continue after"
    ) as unknown:
        client.videos.list(after="video_1")
    assert unknown.value.param == "after"


def test_errors_tell_what_would_be_right(stand: Stand) -> None:
    videos = f"{stand.url}/v1/videos"
    order = requests.get(videos, params={"order": "up"}, timeout=10)
    assert order.status_code == 400
    assert order.json()["error"]["message"] == 'order: Input should be "asc" or "desc"'
    many: dict[str, Any] = {f"f{number}": (None, "x") for number in range(1500)}
    crowded = requests.post(videos, files=many, timeout=10)
    assert crowded.json()["error"]["message"] == "The form has more than 1000 fields"


def test_clients_beside_a_dialect_whose_prefix_is_theirs(make_stand: StandMaker) -> None:
    stand = make_stand(options={"wan21-submit": {"prefix": "/v1"}})
    for method, path, status in (("GET", "/v1/nothing", 404), ("PUT", "/v1/chat/completions", 405)):
        answer = requests.request(method, stand.url + path, timeout=10)
        assert answer.status_code == status
        assert answer.json()["error"]["message"]
    assert requests.get(f"{stand.url}/v1/video/none", timeout=10).json()["detail"]["status"] == "Failed"


def test_nulls_ask_for_nothing(stand: Stand) -> None:
    fields = {"prompt": "x", "input_reference": {"image_url": None, "file_id": None}, "no_such_field": None}
    answer = requests.post(f"{stand.url}/v1/videos", json=fields, timeout=10)
    assert answer.status_code == 200, answer.text
    assert "warning" not in answer.headers
    assert stand.job(answer.json()["id"]).request.task == Task.TEXT_TO_VIDEO
