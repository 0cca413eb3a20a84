"""Clients of every dialect that leave while the inputs of their requests are fetched or decoded."""

import asyncio
import json
import socket
import threading
from typing import Any

import pytest

from framegate.core.types import MediaRef
from tests.support.http_stand import Stand

IMAGE = "https://example.com/cat.png"
VIDEO = "https://example.com/cat.mp4"
PROMPT = "A white cat on a surfboard"
BOUNDARY = "limit"


def form(**fields: str) -> tuple[str, bytes]:
    parts = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        + (f'; filename="{name}.bin"' if name in FILES else "")
        + f"\r\n\r\n{value}\r\n"
        for name, value in fields.items()
    )
    return f"multipart/form-data; boundary={BOUNDARY}", f"{parts}--{BOUNDARY}--\r\n".encode()


FILES = {"image", "image_file", "input_reference", "video"}


def body(**fields: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(fields).encode()


CHAT = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
CHAT[0]["content"].append({"type": "image_url", "image_url": {"url": IMAGE}})  # type: ignore[attr-defined]
SPOKEN = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": VIDEO}}]}]
INPUT = [{"role": "user", "content": [{"type": "input_text", "text": PROMPT}]}]
INPUT[0]["content"].append({"type": "input_image", "image_url": IMAGE})  # type: ignore[attr-defined]

CALLS = {
    "lightx2v video": ("/v1/tasks/video", body(prompt=PROMPT, image_path=IMAGE)),
    "lightx2v video, older path": ("/v1/tasks/", body(prompt=PROMPT, image_path=IMAGE)),
    "lightx2v form": ("/v1/tasks/video/form", form(prompt=PROMPT, image_file="file")),
    "lightx2v image": ("/v1/tasks/image", body(prompt=PROMPT, image_path=IMAGE)),
    "lightx2v image form": ("/v1/tasks/image/form", form(prompt=PROMPT, image_file="file")),
    "lightx2v waiting": ("/v1/tasks/image/sync", body(prompt=PROMPT, image_path=IMAGE)),
    "openai-chat": ("/v1/chat/completions", body(model="ltx2_landscape", messages=CHAT)),
    "openai-chat stream": ("/v1/chat/completions", body(model="ltx2_landscape", messages=CHAT, stream=True)),
    "openai videos": ("/v1/videos", form(model="sora-2", prompt=PROMPT, input_reference="file")),
    "openai videos by URL": (
        "/v1/videos",
        body(model="sora-2", prompt=PROMPT, input_reference={"image_url": IMAGE}),
    ),
    "openai edit": ("/v1/videos/edits", form(prompt=PROMPT, video="file")),
    "openai extension": ("/v1/videos/extensions", form(prompt=PROMPT, video="file", seconds="4")),
    "openai character": ("/v1/videos/characters", form(name="Zoe", video="file")),
    "openai image edit": ("/v1/images/edits", form(prompt=PROMPT, image="file")),
    "openai image edit stream": ("/v1/images/edits", form(prompt=PROMPT, image="file", stream="true")),
    "openai image edit by URL": ("/v1/images/edits", body(prompt=PROMPT, images=[{"image_url": IMAGE}])),
    "openai variation": ("/v1/images/variations", form(image="file")),
    "openai response": (
        "/v1/responses",
        body(model="gpt-5", input=INPUT, tools=[{"type": "image_generation"}]),
    ),
    "sora2api image": ("/v1/images/transform", body(prompt=PROMPT, image=IMAGE)),
    "sora2api video": ("/v1/videos/transform", body(prompt=PROMPT, image=IMAGE, async_mode=True)),
    "sora2api stream": ("/v1/videos/transform", body(prompt=PROMPT, image=IMAGE, stream=True)),
    "sora2api character": ("/v1/characters/create", body(video=VIDEO, stream=True)),
    "sora2api video of a character": (
        "/v1/characters/generate",
        body(prompt=PROMPT, video=VIDEO, stream=True),
    ),
    "sora2api chat": ("/v1/chat/completions", body(model="sora2-landscape-10s", messages=CHAT)),
    "sora2api chat, a character": (
        "/v1/chat/completions",
        body(model="sora2-landscape-10s", messages=SPOKEN, stream=True),
    ),
    "wan21-submit": ("/video/submit", body(prompt=PROMPT, image_url=IMAGE)),
    "wan22-predict": ("/predict", body(prompt=PROMPT, image_url=IMAGE)),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_work_ends_and_leaves_nothing(
    shared_stand: Stand, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    stand = shared_stand
    path, (content_type, content) = CALLS[call]
    begun, given_up = threading.Event(), threading.Event()

    async def ingest(*_: Any, owner: str) -> MediaRef:
        assert owner == "127.0.0.1"
        begun.set()
        try:
            await asyncio.sleep(50)
        except asyncio.CancelledError:
            given_up.set()
            raise
        raise AssertionError("nobody waits for that long")

    for name in ("ingest", "ingest_collage"):
        monkeypatch.setattr(stand.media, name, ingest)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", int(stand.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(head.encode() + content)
        if not begun.wait(10):
            raise AssertionError(connection.recv(5000).decode())
    assert given_up.wait(30)
    assert stand.jobs() == []


def test_a_job_that_is_queued_stays_whole(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves while its job is written does not interrupt that."""
    submit = stand.store.submit
    writing, released, written = threading.Event(), threading.Event(), threading.Event()

    async def slow(*arguments: Any, **values: Any) -> Any:
        writing.set()
        while not released.is_set():  # noqa: ASYNC110  # the test is in another thread
            await asyncio.sleep(0.01)
        job = await submit(*arguments, **values)
        written.set()
        return job

    monkeypatch.setattr(stand.store, "submit", slow)
    content = json.dumps({"prompt": PROMPT, "image_url": IMAGE}).encode()
    head = f"POST /video/submit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(stand.url.rpartition(":")[2])), timeout=30) as connection:
        connection.sendall(head.encode() + content)
        assert writing.wait(30)
    released.set()
    assert written.wait(30)
    [job] = stand.jobs()
    assert job.inputs
    assert stand.media.discarded == []
