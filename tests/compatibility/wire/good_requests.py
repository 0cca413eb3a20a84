"""Requests that succeed, of every dialect, followed to their results."""

from typing import Any

from tests.compatibility.wire.exchanges import Exchange, Step, WebhookDelivery, form, get, post

SMALL: dict[str, Any] = {"prompt": "a boat on a lake", "width": 64, "height": 48, "seed": 7}
SHORT: dict[str, Any] = {**SMALL, "video_duration": 0.5}
PROMPT: dict[str, Any] = {"prompt": "a boat on a lake", "seed": 7}
OTHER_PROMPT: dict[str, Any] = {**PROMPT, "prompt": "a boat on a lake, at night"}
PNG = ("image", "a photo.png", "png")
VIDEO = "sora2-landscape-10s"


def _lightx2v_ended(state: Any) -> bool:
    return bool(state["end_time"])


def _video_ended(video: Any) -> bool:
    return video["status"] not in ("queued", "in_progress")


def _task_ended(task: Any) -> bool:
    return bool(task["status"] != "processing")


def _request_ended(answer: Any) -> bool:
    return answer["status"] not in ("InQueue", "InProgress")


def files(path: str, **more: Any) -> list[Step]:
    """Return the ways to fetch a file: whole, by HEAD, in parts, and conditionally."""
    ranges = (
        "bytes=0-9",
        "bytes=-5",
        "bytes=10-",
        "bytes=0-1,5-8",
        "bytes=9-3",
        "bytes=99999999-",
        "items=1",
    )
    conditions = (
        {"If-None-Match": "*"},
        {"If-None-Match": '"other"'},
        {"Range": "bytes=0-3", "If-Range": '"x"'},
    )
    return [
        get(path, **more),
        Exchange(method="HEAD", path=path, **more),
        *(get(path, headers={"Range": value}, **more) for value in ranges),
        *(get(path, headers=headers, **more) for headers in conditions),
        Exchange(method="HEAD", path=path, headers={"Range": "bytes=0-9"}, **more),
    ]


def _lightx2v_task(number: int, path: str, task: Exchange) -> list[Step]:
    name = f"task{number}"
    kept = {**task.__dict__, "keep": {name: "task_id"}}
    ended = get(f"/v1/tasks/{{{name}}}/status", until=_lightx2v_ended, keep={f"{name}_file": "file_path"})
    return [
        Exchange(**kept),
        ended,
        get(f"/v1/tasks/{{{name}}}/result"),
        get(f"{path}{{{name}_file}}"),
    ]


def lightx2v() -> list[Step]:
    """Tasks of lightx2v: videos and images, by JSON and by form, in both vocabularies."""
    download = "/v1/files/download/"
    photo = ("image_file", "a photo.png", "png")
    tasks = [
        post("/v1/tasks/video", **SHORT),
        post("/v1/tasks/video/", **SMALL, target_video_length=9, target_fps=8),
        post("/v1/tasks/video", **SHORT, image_path="{png}"),
        post("/v1/tasks/video", **SHORT, image_path="{png64}", negative_prompt="rain", num_fragments=2),
        post("/v1/tasks/video", **SHORT, image_path="{media}/moved", last_frame_path="{media}/jpg.jpg"),
        post("/v1/tasks/video", **SHORT, video_path="{mp4}"),
        post("/v1/tasks/video", **SHORT, save_result_path="mine/one.mp4", task_id="my-own-id"),
        post("/v1/tasks/", **SHORT, aspect_ratio="1:1", infer_steps=2),
        post("/v1/tasks/image", **SMALL),
        post("/v1/tasks/image/", **SMALL, image_path="{png}", i2i_denoise_strength=0.5),
        post("/v1/tasks/image", prompt="a boat", target_shape=[48, 64], seed=1),
        form(
            "/v1/tasks/video/form",
            photo,
            prompt="a boat",
            width="64",
            height="48",
            video_duration="0.5",
            seed="7",
        ),
        form("/v1/tasks/image/form", photo, prompt="a boat", width="64", height="48", seed="7"),
        form("/v1/tasks/image/form", prompt="a boat", width="64", height="48", seed="7"),
    ]
    steps = [step for number, task in enumerate(tasks) for step in _lightx2v_task(number, download, task)]
    return [
        *steps,
        *files("/v1/tasks/{task0}/result"),
        *files(f"{download}{{task0_file}}"),
        *(
            get(f"{download}{name}")
            for name in ("mine/one.mp4", "outputs/videos/my-own-id.mp4", "../x", "%2e%2e/x")
        ),
        *(
            get(f"{download}{name}")
            for name in ("/etc/passwd", "outputs/videos/none.mp4", "{task0}.png", "{task0}")
        ),
        Exchange(method="DELETE", path="/v1/tasks/{task0}"),
        post("/v1/tasks/video", **SHORT, task_id="my-own-id"),
        post("/v1/tasks/image/sync", **SMALL),
        post("/v1/tasks/image/sync/?timeout_seconds=60&poll_interval_seconds=0.1", **SMALL),
        get("/v1/tasks/"),
        get("/v1/tasks"),
        get("/v1/tasks/queue/status"),
        get("/v1/service/status"),
        get("/v1/service/metadata"),
    ]


def wan22_predict() -> list[Step]:
    """Calls of wan22-predict, and its page."""
    short: dict[str, Any] = {**SMALL, "num_frames": 25}
    return [
        post("/predict", **short),
        post(
            "/predict",
            **{**short, "width": 75, "height": 50},
            fps=12,
            guidance_scale=1,
            negative_prompt="rain",
        ),
        post("/predict", **short, image_base64="{png}"),
        post("/predict", **short, image_base64="{png64}", num_inference_steps=2),
        post("/predict", **short, image_url="{media}/jpg.jpg"),
        post("/predict", **{**short, "seed": None}),
        post("/predict", {"headers": {"Content-Type": "application/vnd.x+json"}}, **short),
        post("/predict/", **short),
        *(
            get(path)
            for path in ("/", "/predict-page/page.js", "/predict-page/page.css", "/predict-page/none.js")
        ),
    ]


def wan21_submit() -> list[Step]:
    """Requests of wan21-submit."""
    request: dict[str, Any] = {"prompt": "a boat on a lake", "num_frames": 24, "infer_steps": 20, "seed": 7}
    image = {"image_url": "{media}/png.png"}
    bodies = [
        {**request, **image},
        {**request, **image, "image_size": "480x832", "guidance_scale": 1.0, "negative_prompt": "rain"},
        {**request, "model": "ltx2_landscape"},
    ]
    steps: list[Step] = []
    for number, body in enumerate(bodies):
        name = f"request{number}"
        link = {f"{name}_link": "results.videos.0.url"}
        steps += [
            post("/video/submit", {"keep": {name: "requestId"}}, **body),
            post("/video/status", {"until": _request_ended, "keep": link}, requestId=f"{{{name}}}"),
        ]
    return [
        *steps,
        *files("/videos/{request0}_1.mp4", key=""),
        post("/video/cancel", requestId="{request0}"),
        get("/videos/{request0}_2.mp4"),
        get("/videos/{request0}_1.png"),
    ]


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


def sora2api() -> list[Step]:
    """Every feature of sora2api, in its three ways to answer; afterwards ``{share}`` names a video."""
    features: dict[str, dict[str, Any]] = {
        "images/generate": PROMPT,
        "images/transform": {**PROMPT, "image": "{png64}"},
        "videos/generate": {**PROMPT, "style": "anime"},
        "videos/transform": {**PROMPT, "image": "{media}/jpg.jpg"},
        "videos/remix": {**PROMPT, "remix_target_id": "https://example.com/p/{share}"},
        "videos/storyboard": {**PROMPT, "prompt": "```\n[0.5s]a boat\n[0.5s]the sea\n```"},
        "characters/generate": {**PROMPT, "video": "{mp4}", "timestamps": "0,2"},
    }
    steps: list[Step] = [
        post("/v1/videos/generate", {"keep": {"shared": "task_id"}}, **PROMPT, async_mode=True),
        get(
            "/v1/tasks/{shared}",
            until=_task_ended,
            keep={"share": "remix_target_id", "link": "result_urls.0"},
        ),
    ]
    for number, (feature, body) in enumerate(features.items()):
        path, name = f"/v1/{feature}", f"sora{number}"
        if feature.startswith("characters"):  # they only stream
            steps += [post(path, **body, stream=True), post(path, **body)]
            continue
        steps += [
            post(path, **body),
            post(path, **body, stream=True),
            post(path, {"keep": {name: "task_id"}}, **body, async_mode=True),
            get(f"/v1/tasks/{{{name}}}", until=_task_ended),
        ]
    styles = (
        "festive",
        "kakalaka",
        "news",
        "selfie",
        "handheld",
        "golden",
        "retro",
        "nostalgic",
        "comic",
        "ANIME",
    )
    return [
        *steps,
        *(post("/v1/videos/generate", **PROMPT, style=style, async_mode=True) for style in styles),
        *files("{link}", key=""),
        post("/v1/characters/create", video="{mp4}", stream=True),
        post("/v1/characters/create", video="{media}/mp4.mp4", timestamps="1,2", stream=True),
        post("/v1/videos/generate", **{**PROMPT, "prompt": "@nobody000 sails {anime}"}, stream=True),
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
    character = form("/v1/videos/characters", film, name="Ada", _more={"keep": {"character": "id"}})
    steps: list[Step] = [character, get("/v1/videos/characters/{character}")]
    for number, call in enumerate(calls):
        steps.append(Exchange(**{**call.__dict__, "keep": {f"video{number}": "id"}}))
        steps.append(get(f"/v1/videos/{{video{number}}}", until=_video_ended))
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
        form("/v1/videos", _more={"headers": headers[0]}, prompt="a boat on a lake", seed="7"),
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
