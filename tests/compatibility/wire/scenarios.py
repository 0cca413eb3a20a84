"""What is asked of a server in each setup."""

from tests.compatibility.wire import bad_requests as bad
from tests.compatibility.wire import good_openai_requests as openai
from tests.compatibility.wire import good_requests as good
from tests.compatibility.wire.bodies import BODIES, FORMS, USER, WAN21
from tests.compatibility.wire.exchanges import Exchange, Step, get, post

DOCUMENT = "/openapi.json"


def working() -> list[Step]:
    """Whole jobs, by a server without keys."""
    return [
        get(DOCUMENT),
        *good.sora2api(),
        *openai.chat(),
        *good.lightx2v(),
        *good.wan22_predict(),
        *good.wan21_submit(),
        *openai.openai_videos(),
        *openai.openai_images(),
        get("/view?filename=none"),
        *bad.browsers("http://localhost:3000", "https://evil.example", "null"),
        good.until_idle(),
        get("/ready"),
    ]


def private() -> list[Step]:
    """Jobs of one key, as another one and nobody sees them."""
    own: list[Step] = [
        post("/v1/tasks/video", {"keep": {"task": "task_id"}}, **good.SHORT),
        post("/v1/videos", {"keep": {"video": "id"}}, **good.PROMPT),
        post("/v1/videos/generate", {"keep": {"sora": "task_id"}}, **good.PROMPT, async_mode=True),
        post("/video/submit", {"keep": {"request": "requestId"}}, **WAN21),
        get("/v1/tasks/{task}/status", until=good.lightx2v_ended, keep={"file": "file_path"}),
        get("/v1/videos/{video}", until=openai.video_ended),
        get("/v1/tasks/{sora}", until=good.sora2api_ended, keep={"share": "remix_target_id"}),
    ]
    seen: list[Step] = []
    for key in ("bob", "", "alice"):
        seen += [
            get("/v1/tasks/{task}/status", key=key),
            get("/v1/tasks/{task}/result", key=key),
            get("/v1/files/download/{file}", key=key),
            get("/v1/tasks/{sora}", key=key),
            get("/v1/tasks/{video}/status", key=key),
            get("/v1/tasks/task_{task}", key=key),
            get("/v1/tasks", key=key),
            get("/v1/videos", key=key),
            get("/v1/videos/{video}", key=key),
            get("/v1/videos/{task}", key=key),
            get("/v1/videos/{video}/content", key=key),
            post("/v1/videos/{video}/remix", {"key": key}, prompt="x"),
            post("/v1/videos/remix", {"key": key}, prompt="x", remix_target_id="{share}", async_mode=True),
            post(
                "/v1/videos/generate",
                {"key": key},
                prompt="x",
                model="sora2pro-landscape-10s",
                async_mode=True,
            ),
            post("/v1/videos", {"key": key}, prompt="x", model="sora2pro-landscape-10s"),
            post("/video/status", {"key": key}, requestId="{video}"),
            post("/video/cancel", {"key": key}, requestId="{sora}"),
            Exchange(method="DELETE", path="/v1/tasks/{task}", key=key),
            Exchange(method="DELETE", path="/v1/videos/{video}", key=key),
        ]
    return [
        *own,
        *seen,
        good.until_idle(),
        *bad.authorization(),
        *bad.browsers("https://any.example"),
        post("/v1/chat/completions", model="ltx2_landscape", messages=USER, seed=7),
        *(
            get(path, key="")
            for path in ("/health", "/ready", "/docs", DOCUMENT, "/", "/predict-page/page.css")
        ),
        get(DOCUMENT),
    ]


def queued() -> list[Step]:
    """Jobs that no worker takes: their states, lists, cancels; and every bad request."""
    steps: list[Step] = [
        get("/ready"),
        get("/v1/service/metadata"),
        post("/v1/tasks/video", {"keep": {"task": "task_id"}}, **good.SHORT),
        post("/v1/tasks/video/", {"keep": {"task2": "task_id"}}, **good.SHORT, save_result_path="a/b"),
        post("/video/submit", {"keep": {"request": "requestId"}}, **WAN21),
        *(post("/v1/videos", {"keep": {f"video{number}": "id"}}, **good.PROMPT) for number in range(4)),
    ]
    steps += [
        step
        for _ in range(2)
        for step in (
            get("/v1/tasks/{task}/status"),
            get("/v1/tasks/{task2}/status"),
            get("/v1/tasks/{task}/result"),
            get("/v1/tasks"),
            get("/v1/tasks/queue/status"),
            get("/v1/service/status"),
            post("/video/status", requestId="{request}"),
            get("/v1/videos"),
            get("/v1/videos?limit=2&after={video2}"),
            get("/v1/videos?limit=2&order=asc&after={video0}"),
            get("/v1/videos/{video3}"),
            get("/v1/videos/{video3}/content"),
            post("/v1/videos/{video3}/remix", prompt="x"),
            post("/v1/videos/edits", prompt="x", video={"id": "{video3}"}),
            post("/v1/videos", prompt="x", input_reference={"image_url": "{video3}"}),
            post("/video/cancel", requestId="{request}"),
            Exchange(method="DELETE", path="/v1/tasks/{task}"),
            Exchange(method="DELETE", path="/v1/videos/{video3}"),
        )
    ]
    return [
        *steps,
        *openai.repeated(),
        Exchange(method="DELETE", path="/v1/tasks/all/running"),
        get("/v1/tasks/{task2}/status"),
        *bad.every_method(),
        *bad.bodies(),
        *bad.forms(),
        *bad.special(),
        *bad.fields(),
        get("/ready"),
    ]


def limited() -> list[Step]:
    """Quotas of keys, a full queue, and bodies and inputs that are too large."""
    submissions = (
        ("/v1/tasks/video", good.SHORT),
        ("/v1/videos", good.PROMPT),
        ("/video/submit", WAN21),
        ("/predict", {**good.SMALL, "num_frames": 25}),
        ("/v1/images/generations", good.PROMPT),
        ("/v1/videos/generate", {**good.PROMPT, "async_mode": True}),
        ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": USER}),
        ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": USER, "stream": True}),
        ("/v1/chat/completions", {"model": "gpt-image", "messages": USER, "stream": True}),
    )
    large = "data:image/bmp;base64,{large64}"
    steps: list[Step] = [post("/v1/tasks/video", {"key": "queued"}, **good.SHORT)]
    steps += [post(path, {"key": "queued"}, **body) for path, body in submissions]
    steps += [post("/v1/tasks/video", {"key": "active"}, **good.SHORT)]
    steps += [post(path, {"key": "active"}, **body) for path, body in submissions]
    steps += [post("/v1/tasks/video", **good.SHORT) for _ in range(3)]
    steps += [post(path, **body) for path, body in submissions]
    inputs = (
        ("/v1/tasks/image", {**good.SMALL, "image_path": large}),
        ("/predict", {**good.SMALL, "num_frames": 25, "image_base64": "{large64}"}),
        ("/v1/videos", {**good.PROMPT, "image_url": "{media}/large"}),
        ("/video/submit", {**WAN21, "image_url": "{media}/large"}),
        ("/v1/images/transform", {**good.PROMPT, "image": large, "async_mode": True}),
    )
    steps += [post(path, {"key": key}, **body) for path, body in inputs for key in ("alice", "queued")]
    huge = b'{"prompt": "' + b"x" * 500_000 + b'"}'
    paths = dict.fromkeys((*BODIES, *FORMS, "/v1/tasks/", "/nothing", "/v1/nothing"))
    steps += [Exchange(method="POST", path=path, raw=huge) for path in paths]
    return steps


def prefixed() -> list[Step]:
    """Dialects below prefixes of their own, where other paths than at the root are theirs."""
    prefixes = ("/light", "/v4/app", "/v1/wan", "/openai", "/openai", "/sora")
    paths = [
        prefix + path
        for prefix in dict.fromkeys(prefixes)
        for path in (
            "",
            "/",
            "/nothing",
            "/v1/nothing",
            "/health",
            "/v1/models",
            "/v1/tasks/none",
            "/v1/files/none",
        )
    ]
    own = (
        "/light/v1/tasks/none/status",
        "/light/v1/service/metadata",
        "/v4/app/predict",
        "/v1/wan/video/status",
        "/v1/wan/videos/none.mp4",
        "/videos/none.mp4",
        "/view?filename=none",
        "/openai/view?filename=none",
        "/openai/v1/videos",
        "/openai/v1/chat/completions",
        "/openai/v1/images/files/none.png",
        "/sora/v1/videos/generate",
        "/sora/v1/chat/completions",
        "/health",
        "/",
        "/docs",
    )
    return [
        get(DOCUMENT),
        *bad.every_method((*paths, *own)),
        *(get(path, key="") for path in (*paths, *own)),
        post("/light/v1/tasks/video", {"keep": {"task": "task_id"}, "key": ""}, **good.SHORT),
        get("/light/v1/tasks/{task}/status", key=""),
        post("/openai/v1/videos", **good.PROMPT),
        get("/openai/v1/videos"),
        post("/v1/wan/video/submit", **WAN21),
        post("/sora/v1/chat/completions", {"key": ""}, model="sora2-landscape-10s", messages=USER),
        post("/openai/v1/chat/completions", model="sora2-landscape-10s", messages=[]),
    ]


def alone(name: str) -> list[Step]:
    """One dialect without the others."""
    chats = (
        post("/v1/chat/completions", model=model, messages=[{"role": "user", "content": ""}])
        for model in ("ltx2_landscape", "sora2-landscape-10s", "none")
    )
    paths = (
        "/",
        "/v1/models",
        "/v1/tasks/none",
        "/v1/tasks",
        "/v1/files/none",
        "/v1/videos/none",
        "/v1/nothing",
    )
    return [get(DOCUMENT), *bad.every_method((*paths, f"/{name}", "/video/x", "/view")), *chats]
