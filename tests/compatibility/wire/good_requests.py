"""Requests that succeed, of the dialects that are not OpenAI's, followed to their results."""

from dataclasses import replace
from typing import Any

from tests.compatibility.wire.exchanges import Exchange, Step, form, get, post

SMALL: dict[str, Any] = {"prompt": "a boat on a lake", "width": 64, "height": 48, "seed": 7}
SHORT: dict[str, Any] = {**SMALL, "video_duration": 0.5}
PROMPT: dict[str, Any] = {"prompt": "a boat on a lake", "seed": 7}
VIDEO = "sora2-landscape-10s"


def lightx2v_ended(state: Any) -> bool:
    """Return whether a state of lightx2v is final."""
    return bool(state["end_time"])


def sora2api_ended(task: Any) -> bool:
    """Return whether a task of sora2api is final."""
    return bool(task["status"] != "processing")


def wan21_ended(answer: Any) -> bool:
    """Return whether an answer of wan21-submit is final."""
    return answer["status"] not in ("InQueue", "InProgress")


def until_idle() -> Exchange:
    """Return a request for lightx2v's state of the service that is repeated until all jobs have ended."""

    def idle(state: Any) -> bool:
        return state["service_status"] == "idle" and not state["pending_tasks"]

    return get("/v1/service/status", until=idle)


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
    ended = get(f"/v1/tasks/{{{name}}}/status", until=lightx2v_ended, keep={f"{name}_file": "file_path"})
    return [
        replace(task, keep={name: "task_id"}),
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
        until_idle(),
        get("/v1/tasks/"),
        get("/v1/tasks"),
        get("/v1/tasks/queue/status"),
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
            post("/video/status", {"until": wan21_ended, "keep": link}, requestId=f"{{{name}}}"),
        ]
    return [
        *steps,
        *files("/videos/{request0}_1.mp4", key=""),
        post("/video/cancel", requestId="{request0}"),
        get("/videos/{request0}_2.mp4"),
        get("/videos/{request0}_1.png"),
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
            until=sora2api_ended,
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
            get(f"/v1/tasks/{{{name}}}", until=sora2api_ended),
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
