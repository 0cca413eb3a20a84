"""sora2api, part by part."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from framegate.core.jobs import JobState
from framegate.core.ports import Base64Source, UrlSource
from framegate.core.types import MediaKind, StoryboardShot, Task
from tests.support.event_stream import SoraTold
from tests.support.http_stand import CONTENT, Stand, StandMaker
from tests.support.sora2api_client import PICTURE, UNKNOWN, VIDEO, chat, content_of, post, refused

FEATURES: list[tuple[str, dict[str, Any], Task]] = [
    ("images/generate", {"model": "gpt-image-portrait"}, Task.TEXT_TO_IMAGE),
    ("images/transform", {"model": "gpt-image-portrait", "image": PICTURE}, Task.IMAGE_TO_IMAGE),
    ("videos/generate", {"model": "sora2-portrait-15s"}, Task.TEXT_TO_VIDEO),
    ("videos/transform", {"model": "sora2-portrait-15s", "image": PICTURE}, Task.IMAGE_TO_VIDEO),
]


@pytest.mark.parametrize(("path", "fields", "task"), FEATURES)
def test_features(stand: Stand, path: str, fields: dict[str, Any], task: Task) -> None:
    image = path.startswith("images")
    with stand.working():
        content = content_of(post(stand, path, prompt="a cat", seed=5, **fields))
        told = SoraTold(post(stand, path, prompt="a cat", seed=5, stream=True, **fields))
        again = chat(stand, fields["model"], "a cat", seed=5, image=fields.get("image"))
        assert again.status_code == 200
    for text in (content, told.content):
        if image:
            assert text.startswith(f"![Generated Image]({stand.url}/v1/files/")
            link = text.split("(")[1].removesuffix(")")
        else:
            link = text.removeprefix("```html\n<video src='").removesuffix("' controls></video>\n```")
        answer = requests.get(link, timeout=10)
        assert answer.content == CONTENT[MediaKind.IMAGE if image else MediaKind.VIDEO]
    if "image" in fields:
        assert "The image was received." in told.progress
    first, *others = stand.jobs()
    assert first.request.task == task
    assert len(others) == 2
    for job in others:
        assert list(job.shots) == list(first.shots)
    shot = first.shots[0]
    assert (shot.width, shot.height) == ((360, 540) if image else (720, 1280))
    if not image:
        assert (shot.num_frames, shot.fps) == (450, 30.0)


def test_blank_fields_of_a_chat_are_left_out(stand: Stand) -> None:
    fields = {"image": "", "video": "", "remix_target_id": "", "style": "", "seed": None, "timestamps": None}
    with stand.working():
        content_of(chat(stand, "sora2-landscape-10s", "a cat", **fields))
    [job] = stand.jobs()
    assert (job.request.task, job.request.style) == (Task.TEXT_TO_VIDEO, None)


def test_defaults(stand: Stand) -> None:
    post(stand, "images/generate", prompt="a cat", async_mode=True)
    post(stand, "videos/generate", prompt="a cat", async_mode=True)
    assert [job.model for job in stand.jobs()] == ["gpt-image", "sora2-landscape-10s"]


def test_images_are_base64_or_links(stand: Stand) -> None:
    for image in (PICTURE, "AAAA", "data:image/png;base64,AAAA", f"\n {PICTURE} ", " data:,AAAA\n"):
        assert post(stand, "videos/transform", prompt="x", image=image, async_mode=True).ok
    assert stand.media.taken == [
        UrlSource(PICTURE),
        Base64Source("AAAA"),
        Base64Source("data:image/png;base64,AAAA"),
        UrlSource(PICTURE),
        Base64Source("data:,AAAA"),
    ]


def test_tasks(stand: Stand) -> None:
    accepted = post(stand, "videos/generate", prompt="a cat", async_mode=True, stream=True)
    assert accepted.headers["Content-Type"] == "application/json"
    body = accepted.json()
    assert body.keys() == {"task_id", "task_type", "status", "message"}
    assert (body["status"], body["task_type"]) == ("processing", "video_generate")
    url = f"{stand.url}/v1/tasks/{body['task_id']}"
    assert body["task_id"].startswith("task_")
    state = requests.get(url, timeout=10).json()
    created = datetime.strptime(state.pop("created_at") + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    assert abs(created.timestamp() - time.time()) < 60
    assert state == {
        "task_id": body["task_id"],
        "status": "processing",
        "progress": 0.0,
        "model": "sora2-landscape-10s",
        "prompt": "a cat",
        "result_urls": None,
        "error_message": None,
        "completed_at": None,
        "remix_target_id": None,
    }
    job = stand.claim()
    stand.store.advance(job.id, 0.425)
    assert requests.get(url, timeout=10).json()["progress"] == 42.5
    stand.finish(job)
    state = requests.get(url, timeout=10).json()
    assert (state["status"], state["progress"], state["remix_target_id"]) == (
        "completed",
        100.0,
        job.share_id,
    )
    [link] = state["result_urls"]
    assert requests.get(link, timeout=10).content == CONTENT[MediaKind.VIDEO]
    created, completed = (datetime.fromisoformat(state[name]) for name in ("created_at", "completed_at"))
    assert created.tzinfo is completed.tzinfo is None
    assert created <= completed <= created + timedelta(seconds=60)


def state_at(url: str) -> Any:
    return requests.get(url, timeout=10).json()


async def test_tasks_that_fail(stand: Stand) -> None:
    tasks = [post(stand, "videos/generate", prompt="x", async_mode=True).json() for _ in range(2)]
    urls = [f"{stand.url}/v1/tasks/{task['task_id']}" for task in tasks]
    stand.fail(stand.claim(), "The lamp broke.")
    await stand.store.cancel(stand.jobs()[1].id)
    states = [state_at(url) for url in urls]
    assert [(state["status"], state["error_message"]) for state in states] == [
        ("failed", "The lamp broke."),
        ("failed", "The job was cancelled."),
    ]


def test_unknown_tasks(stand: Stand) -> None:
    requests.post(f"{stand.url}/v1/tasks/video", json={"prompt": "x", "task_id": "mine"}, timeout=10)
    for name in ("task_mine", "mine", "task_", "task_" + "0" * 32):
        answer = requests.get(f"{stand.url}/v1/tasks/{name}", timeout=10)
        error = refused(answer, 404, "task_id")
        assert error["type"] == "invalid_request_error"
        assert error["message"] == f"There is no task {name!r}."


def test_styles(stand: Stand) -> None:
    post(stand, "videos/generate", prompt="a cat", style="anime", async_mode=True)
    post(stand, "videos/generate", prompt="a {Anime} cat", async_mode=True)
    post(stand, "videos/generate", prompt="a cat {retro} {boat} {a b}", style="comic", async_mode=True)
    first, second, third = (job.request for job in stand.jobs())
    assert (first.style, first.prompt) == (second.style, second.prompt) == ("anime", "a cat")
    assert (third.style, third.prompt) == ("comic", "a cat {boat} {a b}")


@pytest.mark.parametrize(
    "prompt",
    [
        "[5.0s]a cat [3.0s]a dog [2s]a cow",
        "[5.0s]a cat\n[3.0s]a dog\n[2s]a cow",
        "```\n[5.0s]a cat\n[3.0s]a dog\n[2s]a cow\n```",
    ],
)
def test_storyboards(stand: Stand, prompt: str) -> None:
    model = "sora2-landscape-10s"
    post(stand, "videos/storyboard", prompt=prompt, seed=1, async_mode=True)
    with stand.working():
        told = SoraTold(chat(stand, model, prompt, seed=1, stream=True))
    assert "A storyboard of 3 shots was detected." in told.progress
    first, second = stand.jobs()
    assert first.request.storyboard == (
        StoryboardShot("a cat", 5.0),
        StoryboardShot("a dog", 3.0),
        StoryboardShot("a cow", 2.0),
    )
    assert first.shots == second.shots
    assert sum(shot.frames_kept for shot in first.shots) == 300


DOCUMENTED = "[5.0s]猫猫从飞机上跳伞 [5.0s]猫猫降落 [10.0s]猫猫在田野奔跑"
WAYS: list[dict[str, Any]] = [{"async_mode": True}, {"stream": True}, {}]


@pytest.mark.parametrize(
    "model", ["sora2-landscape-10s", "sora2pro-portrait-10s", "sora2pro-hd-landscape-10s"]
)
@pytest.mark.parametrize(
    "prompt",
    [DOCUMENTED, DOCUMENTED.replace(" [", "\n["), f"```\n{DOCUMENTED}\n```", f"At dusk. {DOCUMENTED}"],
    ids=["line", "lines", "fenced", "common"],
)
def test_a_storyboard_may_be_longer_than_its_name_says(stand: Stand, model: str, prompt: str) -> None:
    with stand.working():
        for way in WAYS:
            assert post(stand, "videos/storyboard", prompt=prompt, model=model, **way).ok
        for way in WAYS[1:]:
            assert chat(stand, model, prompt, **way).ok
    jobs = stand.jobs()
    assert len(jobs) == 5
    for job in jobs:
        assert {shot.fps for shot in job.shots} == {30.0}
        assert [shot.frames_kept for shot in job.shots] == [150, 150, 300]


def test_only_the_times_of_a_storyboard_exceed_a_name(stand: Stand) -> None:
    """The name's own length is that of everything else that it makes."""
    model = "sora2-landscape-10s"
    assert post(stand, "videos/generate", prompt="a cat", model=model, async_mode=True).ok
    assert post(stand, "images/generate", prompt=DOCUMENTED, async_mode=True).ok
    with stand.working():
        assert chat(stand, "gpt-image", DOCUMENTED).ok
    video, *images = (job.request for job in stand.jobs())
    assert sum(shot.frames_kept for shot in stand.jobs()[0].shots) == 300
    assert not video.storyboard
    for image in images:
        assert (image.prompt, image.storyboard) == (DOCUMENTED, ())


@pytest.mark.parametrize(("configured", "length"), [(15, "15"), ("15.5s", "15.5"), (1000, "120")])
def test_the_longest_storyboard(make_stand: StandMaker, configured: Any, length: str) -> None:
    """The config says it, within what the served model itself makes."""
    stand = make_stand({"sora2api": {"max_storyboard": configured}})
    assert post(stand, "videos/storyboard", prompt=f"[{length}s]a", async_mode=True).ok
    prompt = f"[{length}s]a [1s]b"
    for answer in (
        post(stand, "videos/storyboard", prompt=prompt, async_mode=True),
        chat(stand, "sora2-landscape-25s", prompt),
    ):
        error = refused(answer, 400, "prompt", f"at most {length} s")
        assert str(float(length) + 1).removesuffix(".0") in error["message"]


def test_remixes(stand: Stand) -> None:
    with stand.working():
        told = SoraTold(post(stand, "videos/generate", prompt="a cat", stream=True))
        [source] = stand.jobs()
        share = source.share_id
        assert share in told.progress
        link = f"https://video.example.com/p/{share}?from=app"
        model = "sora2-landscape-10s"
        for target in (share, link):
            assert post(stand, "videos/remix", prompt="at night", remix_target_id=target, seed=3).ok
            assert chat(stand, model, "at night", remix_target_id=target, seed=3).ok
            assert chat(stand, model, f"{target} at night", seed=3).ok
            assert chat(stand, model, f"at night {target}", seed=3).ok
    requests_made = [job.request for job in stand.jobs()[1:]]
    assert len(requests_made) == 8
    assert {request.prompt for request in requests_made} == {"at night"}
    assert {request.task for request in requests_made} == {Task.VIDEO_TO_VIDEO}
    assert all(request.video for request in requests_made)


def test_remixes_of_nothing(stand: Stand) -> None:
    for target in (UNKNOWN, "s_nope", "https://example.com/p/"):
        answer = post(stand, "videos/remix", prompt="x", remix_target_id=target)
        error = refused(answer, 404, "remix_target_id")
        assert error["type"] == "invalid_request_error"
    refused(chat(stand, "sora2-landscape-10s", f"x {UNKNOWN}"), 404, "remix_target_id")


def test_a_remix_of_what_was_cleaned_up(stand: Stand) -> None:
    post(stand, "videos/generate", prompt="x", async_mode=True)
    done = stand.run_next()
    stand.artifacts.delete(done.artifacts[0].key)
    answer = post(stand, "videos/remix", prompt="x", remix_target_id=done.share_id)
    refused(answer, 404, "remix_target_id", "cleaned up")


async def test_characters(stand: Stand) -> None:
    told = SoraTold(post(stand, "characters/create", video=VIDEO, stream=True))
    [character] = await stand.services.characters.list()
    assert told.content == f"角色创建成功，角色名@{character.username}"
    assert f"✨ 角色已识别: {character.display_name} (@{character.username})" in told.progress
    prompt = f"@{character.username} waves at you@example.com"
    post(stand, "videos/generate", prompt=prompt, async_mode=True)
    [job] = stand.jobs()
    assert (job.request.task, job.request.prompt) == (Task.IMAGE_TO_VIDEO, prompt)
    again = content_of(chat(stand, "sora2-landscape-10s", "", video=VIDEO))
    assert again.startswith("角色创建成功，角色名@")
    parts = [{"type": "video_url", "video_url": {"url": VIDEO}}]
    SoraTold(chat(stand, "sora2-landscape-10s", parts, stream=True))
    assert len(await stand.services.characters.list()) == 3


@pytest.mark.parametrize("failing", ["", "The lamp broke."])
async def test_a_character_for_one_video(stand: Stand, failing: str) -> None:
    with stand.working(failing=failing):
        feature = SoraTold(post(stand, "characters/generate", prompt="they wave", video=VIDEO, stream=True))
        parts = [
            {"type": "text", "text": "they wave"},
            {"type": "video_url", "video_url": {"url": VIDEO}},
        ]
        chatted = SoraTold(chat(stand, "sora2-landscape-10s", parts, stream=True))
    for told in (feature, chatted):
        assert "✨ 角色已识别: " in told.progress
        assert bool(told.error) == bool(failing)
    assert {job.request.task for job in stand.jobs()} == {Task.IMAGE_TO_VIDEO}
    assert await stand.services.characters.list() == []


async def test_a_character_whose_job_is_refused_is_removed(make_stand: StandMaker) -> None:
    stand = make_stand(max_queued=1)
    post(stand, "videos/generate", prompt="x", async_mode=True)
    answer = post(stand, "characters/generate", prompt="x", video=VIDEO, stream=True)
    assert answer.status_code == 503
    assert await stand.services.characters.list() == []


def test_files(stand: Stand) -> None:
    with stand.working():
        link = content_of(post(stand, "images/generate", prompt="x")).split("(")[1].removesuffix(")")
    assert requests.head(link, timeout=10).headers["Content-Type"] == "image/png"
    part = requests.get(link, headers={"Range": "bytes=-4"}, timeout=10)
    assert (part.status_code, part.content) == (206, b"pppp")
    [job] = stand.jobs()
    stand.artifacts.delete(job.artifacts[0].key)
    refused(requests.get(link, timeout=10), 404, None, "removed")


def test_a_chat_s_last_message_counts(stand: Stand) -> None:
    messages = [
        {"role": "user", "content": "a house"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "boat"}]},
    ]
    with stand.working():
        answer = post(stand, "chat/completions", model="gpt-image", messages=messages)
    assert answer.status_code == 200
    [job] = stand.jobs()
    assert (job.request.prompt, job.state) == ("a\nboat", JobState.SUCCEEDED)
