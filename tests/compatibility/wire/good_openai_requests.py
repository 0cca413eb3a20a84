"""Requests that succeed, of OpenAI's chat, videos and images, followed to their results."""

from dataclasses import replace
from typing import Any

from tests.compatibility.wire.exchanges import Exchange, Step, WebhookDelivery, form, get, post
from tests.compatibility.wire.good_requests import PROMPT, VIDEO, files

OTHER_PROMPT: dict[str, Any] = {**PROMPT, "prompt": "a boat on a lake, at night"}
PNG = ("image", "a photo.png", "png")


def video_ended(video: Any) -> bool:
    """Return whether a video of OpenAI's is final."""
    return video["status"] not in ("queued", "in_progress")


def chat() -> list[Step]:
    """Chat completions of both dialects that answer them."""
    text = [{"role": "user", "content": "a boat on a lake"}]
    style = [{"role": "user", "content": "{anime} a boat {on} a lake"}]
    shots = [{"role": "user", "content": "Calm. [0.5s]a boat [0.5s]the sea"}]
    image = {"type": "image_url", "image_url": {"url": "{png}"}}
    parts = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "a boat"}, {"type": "text", "text": "sails"}, image],
        }
    ]
    plain = [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": "{media}/jpg.jpg"}, {"type": "text", "text": "x"}],
        }
    ]
    video = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "{mp4}"}}]}]
    video_text = [
        {
            "role": "user",
            "content": [
                {"type": "video_url", "video_url": {"url": "{mp4}"}},
                {"type": "text", "text": "dances"},
            ],
        }
    ]
    path = "/v1/chat/completions"
    asked = (
        ("ltx2_landscape", text),
        ("ltx2_landscape", parts),
        ("ltx2_portrait", plain),
        ("Wan2.2-TI2V-5B", text),
        (VIDEO, text),
        (VIDEO, style),
        (VIDEO, shots),
        (VIDEO, parts),
        (VIDEO, video_text),
        ("gpt-image", text),
        ("gpt-image", parts),
    )
    steps: list[Step] = [
        post(path, {"keep": {"view": "choices.0.message.content"}}, model="ltx2_landscape", messages=text),
        *files("{view}", key=""),
        *(
            post(path, model=model, messages=messages, stream=stream, seed=7)
            for model, messages in asked
            for stream in (False, True)
        ),
    ]
    return [
        *steps,
        post(path, model=VIDEO, messages=video, stream=True),
        post(path, model=VIDEO, messages=text, image="{png64}", style="retro", stream=True, seed=7),
        post(path, model=VIDEO, messages=text, remix_target_id="{share}", stream=True, seed=7),
        post(
            path, model=VIDEO, messages=[{"role": "user", "content": "{share} at night"}], stream=True, seed=7
        ),
        post(path, model=VIDEO, messages=text, stream_options={"include_usage": True}, temperature=1, seed=7),
        get("/v1/models"),
        get("/v1/models/"),
        get("/v1/models/sora2-landscape-10s"),
        get("/v1/models/gpt-image"),
        get("/v1/models/none"),
        get("/v1/models/a/b"),
    ]


def openai_videos() -> list[Step]:
    """Videos and characters of OpenAI's API; afterwards ``{video0}`` names a video."""
    path, model = "/v1/videos", {"model": "sora-2"}
    reference = ("input_reference", "photo.png", "png")
    film = ("video", "upload", "mp4")
    calls = [
        post(path, **PROMPT),
        post(path, **PROMPT, **model, seconds="1", size="128x96", fps=8, webhook_url="{media}/hook"),
        post(path, **PROMPT, seconds=1, negative_prompt="rain", steps=2, guidance_scale=2),
        post(path, **PROMPT, num_frames=5, input_reference={"image_url": "{png}"}),
        post(path, **PROMPT, image_url="{media}/jpg.jpg"),
        form(path, reference, prompt="a boat", model="sora-2", seconds="1", size="128x96", seed="7"),
        form(path, ("input_reference", "upload", "mp4"), prompt="a boat", seed="7"),
        form(path, prompt="a boat", seed="7", **{"input_reference[image_url]": "{png}"}),
        Exchange(
            method="POST",
            path=path,
            raw=b"prompt=a+boat&seconds=1&seed=7&size=",
            content_type="application/x-www-form-urlencoded",
        ),
        post("/v1/videos/{video0}/remix", prompt="at night", seed=7),
        post("/v1/videos/edits", prompt="at night", seed=7, video={"id": "{video0}"}),
        form("/v1/videos/edits", film, prompt="at night", seed="7"),
        form(
            "/v1/videos/edits",
            ("video", "upload", "empty"),
            prompt="at night",
            seed="7",
            **{"video[id]": "{video0}"},
        ),
        post("/v1/videos/extensions", prompt="at night", seconds="1", seed=7, video={"id": "{video0}"}),
        form("/v1/videos/extensions", film, prompt="at night", seed="7", seconds="1"),
        post(path, **{**PROMPT, "prompt": "@{character} sails"}),
        post(path, **PROMPT, characters=[{"id": "{character}"}]),
    ]
    character = replace(form("/v1/videos/characters", film, name="Ada"), keep={"character": "id"})
    steps: list[Step] = [character, get("/v1/videos/characters/{character}")]
    for number, call in enumerate(calls):
        steps.append(replace(call, keep={f"video{number}": "id"}))
        steps.append(get(f"/v1/videos/{{video{number}}}", until=video_ended))
    content = "/v1/videos/{video0}/content"
    return [
        *steps,
        WebhookDelivery("video.completed", "video1"),
        *files(content),
        *files(f"{content}?variant=thumbnail"),
        *(get(f"{content}?variant={variant}") for variant in ("video", "spritesheet", "other", "")),
        *(
            get(f"/v1/videos?{query}")
            for query in ("", "limit=2", "order=asc", "limit=2&order=asc&after={video1}")
        ),
        *(
            get(f"/v1/videos?{query}")
            for query in ("limit=0", "limit=101", "limit=x", "order=no", "after=none", "x=1")
        ),
        Exchange(method="DELETE", path="/v1/videos/{video1}"),
        Exchange(method="DELETE", path="/v1/videos/{video1}"),
        get("/v1/videos/{video1}"),
        get("/v1/videos/{video1}/content"),
    ]


def repeated() -> list[Step]:
    """Requests that are sent again, with an idempotency key or as the SDKs do; best where no worker runs."""
    headers = [{"Idempotency-Key": "one"}, {"Idempotency-Key": "é"}, {"Idempotency-Key": "x" * 256}]
    counts = [{"X-Stainless-Retry-Count": count} for count in ("0", "1", "2", "x")]
    keep = {"keep": {"repeated": "id"}}
    return [
        post("/v1/videos", {"headers": headers[0], **keep}, **PROMPT),
        post("/v1/videos", {"headers": headers[0]}, **PROMPT),
        post("/v1/videos", {"headers": headers[0]}, **OTHER_PROMPT),
        replace(form("/v1/videos", prompt="a boat on a lake", seed="7"), headers=headers[0]),
        post("/v1/videos/{repeated}/remix", {"headers": headers[0]}, **PROMPT),
        *(post("/v1/videos", {"headers": header}, **PROMPT) for header in (*headers[1:], *counts)),
        get("/v1/videos"),
        Exchange(method="DELETE", path="/v1/videos/{repeated}"),
        post("/v1/videos", {"headers": headers[0]}, **PROMPT),
    ]


def openai_images() -> list[Step]:
    """Images of OpenAI's API, as base64, as links and as streams."""
    path = "/v1/images/generations"
    mask = ("mask", "mask.png", "png")
    second = ("image[]", "b.jpg", "jpg")
    link = {"keep": {"image_link": "data.0.url"}}
    return [
        post(path, **PROMPT),
        post(path, **PROMPT, model="gpt-image", size="128x96", n=2, user="me", quality="high", style="vivid"),
        *(
            post(path, **PROMPT, output_format=kind, output_compression=50)
            for kind in ("png", "jpeg", "webp")
        ),
        post(path, **PROMPT, stream=True),
        post(path, **PROMPT, stream=True, partial_images=2, output_format="jpeg"),
        post(path, link, **PROMPT, response_format="url"),
        get("{image_link}", key=""),
        Exchange(method="HEAD", path="{image_link}"),
        get("{image_link}", headers={"Range": "bytes=0-9"}),
        form("/v1/images/edits", PNG, prompt="a boat", seed="7", size="128x96", strength="0.5"),
        form("/v1/images/edits", PNG, mask, prompt="a boat", seed="7"),
        form("/v1/images/edits", PNG, ("mask", "mask.png", "mask"), prompt="a boat", seed="7"),
        form("/v1/images/edits", ("image[]", "a.png", "png"), second, prompt="a boat", seed="7", n="2"),
        form("/v1/images/edits", PNG, prompt="a boat", seed="7", stream="true", partial_images="1"),
        form("/v1/images/variations", PNG, seed="7", response_format="url", output_format="webp"),
        form("/v1/images/variations", PNG, second, seed="7"),
        form("/v1/images/variations", PNG, mask, seed="7"),
    ]
