"""How both versions are configured, and what is asked of them then."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.compatibility.wire import bad_requests as bad
from tests.compatibility.wire import good_requests as good
from tests.compatibility.wire.exchanges import Exchange, Step, get, post

Steps: TypeAlias = Callable[[], Sequence[Step]]
DIALECTS = ("lightx2v", "wan22-predict", "wan21-submit", "openai-chat", "openai-videos", "sora2api")
DOCUMENT = "/openapi.json"
SMALL_NAMES = (
    "sora2-landscape-10s",
    "sora2pro-landscape-10s",
    "gpt-image",
    "gpt-image-2",
    "ltx2_landscape",
    "ltx2_portrait",
    "sora-2",
    "Wan2.2-TI2V-5B",
)
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # an example of the Standard Webhooks' specification


def _aliases() -> str:
    """Return a config that makes what the catalogues' names make small and short."""
    image, video = "width = 64, height = 48", "width = 64, height = 48, duration = 0.5"
    return "".join(
        f'[aliases."{name}"]\nmodel = "{name}"\n'
        f"defaults = {{ {image if name.startswith('gpt') else video} }}\n"
        for name in SMALL_NAMES
    )


def _keys(**clients: str) -> str:
    """Return a config with a key for each client, and further settings of it."""
    return "".join(
        f'[[auth.keys]]\nname = "{name}"\nsha256 = "{_digest(_key(name))}"\n{more}\n'
        for name, more in clients.items()
    )


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _key(name: str) -> str:
    return f"{name}-secret"


@dataclass(frozen=True)
class Setup:
    """One configuration, and the steps to take with it.

    ``config`` may hold ``{media}``, the address of the stand with media. ``clients`` have keys.
    """

    name: str
    config: str
    steps: Sequence[Step]
    arguments: Sequence[str] = ()
    clients: Sequence[str] = ()
    secrets: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables for the server; with one seed of hashes, sets have the same order in both versions."""
        return {"PYTHONHASHSEED": "0", **self.secrets}

    @property
    def keys(self) -> Mapping[str, str]:
        """The clients' keys."""
        return {name: _key(name) for name in self.clients}


_FETCH = '[fetch]\nallow = ["127.0.0.1"]\n'
_QUICK = "[dialects.wan22-predict]\ntimeout = 0.02\n[dialects.openai-videos]\nimage_timeout = 0.02\n"
_WEBHOOKS = (
    '[webhooks]\nurl = "{media}/hook"\nsecret = { env = "WEBHOOK_SECRET" }\nallowed_hosts = ["127.0.0.1"]\n'
)


def _working() -> list[Step]:
    """Whole jobs, by a server without keys."""
    return [
        get(DOCUMENT),
        *good.sora2api(),
        *good.chat(),
        *good.lightx2v(),
        *good.wan22_predict(),
        *good.wan21_submit(),
        *good.openai_videos(),
        *good.openai_images(),
        get("/view?filename=none"),
        *bad.browsers("http://localhost:3000", "https://evil.example", "null"),
        get("/ready"),
    ]


def _private() -> list[Step]:
    """Jobs of one key, as another one and nobody sees them."""
    own: list[Step] = [
        post("/v1/tasks/video", {"keep": {"task": "task_id"}}, **good.SHORT),
        post("/v1/videos", {"keep": {"video": "id"}}, **good.PROMPT),
        post("/v1/videos/generate", {"keep": {"sora": "task_id"}}, **good.PROMPT, async_mode=True),
        post("/video/submit", {"keep": {"request": "requestId"}}, **bad.WAN21),
        get(
            "/v1/tasks/{task}/status", until=lambda state: bool(state["end_time"]), keep={"file": "file_path"}
        ),
        get("/v1/videos/{video}", until=lambda state: state["status"] == "completed"),
        get(
            "/v1/tasks/{sora}", until=lambda s: s["status"] == "completed", keep={"share": "remix_target_id"}
        ),
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
        *bad.authorization(),
        *bad.browsers("https://any.example"),
        post("/v1/chat/completions", model="ltx2_landscape", messages=bad.USER, seed=7),
        *(
            get(path, key="")
            for path in ("/health", "/ready", "/docs", DOCUMENT, "/", "/predict-page/page.css")
        ),
        get(DOCUMENT),
    ]


def _queued() -> list[Step]:
    """Jobs that no worker takes: their states, lists, cancels; and every bad request."""
    steps: list[Step] = [
        get("/ready"),
        get("/v1/service/metadata"),
        post("/v1/tasks/video", {"keep": {"task": "task_id"}}, **good.SHORT),
        post("/v1/tasks/video/", {"keep": {"task2": "task_id"}}, **good.SHORT, save_result_path="a/b"),
        post("/video/submit", {"keep": {"request": "requestId"}}, **bad.WAN21),
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
        *good.repeated(),
        Exchange(method="DELETE", path="/v1/tasks/all/running"),
        get("/v1/tasks/{task2}/status"),
        *bad.every_method(),
        *bad.bodies(),
        *bad.forms(),
        *bad.special(),
        *bad.fields(),
        get("/ready"),
    ]


def _limited() -> list[Step]:
    """Quotas of keys, a full queue, and bodies and inputs that are too large."""
    submissions = (
        ("/v1/tasks/video", good.SHORT),
        ("/v1/videos", good.PROMPT),
        ("/video/submit", bad.WAN21),
        ("/predict", {**good.SMALL, "num_frames": 25}),
        ("/v1/images/generations", good.PROMPT),
        ("/v1/videos/generate", {**good.PROMPT, "async_mode": True}),
        ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": bad.USER}),
        ("/v1/chat/completions", {"model": "ltx2_landscape", "messages": bad.USER, "stream": True}),
        ("/v1/chat/completions", {"model": "gpt-image", "messages": bad.USER, "stream": True}),
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
        ("/video/submit", {**bad.WAN21, "image_url": "{media}/large"}),
        ("/v1/images/transform", {**good.PROMPT, "image": large, "async_mode": True}),
    )
    steps += [post(path, {"key": key}, **body) for path, body in inputs for key in ("alice", "queued")]
    huge = b'{"prompt": "' + b"x" * 500_000 + b'"}'
    paths = dict.fromkeys((*bad.BODIES, *bad.FORMS, "/v1/tasks/", "/nothing", "/v1/nothing"))
    steps += [Exchange(method="POST", path=path, raw=huge) for path in paths]
    return steps


def _prefixed() -> list[Step]:
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
        post("/v1/wan/video/submit", **bad.WAN21),
        post("/sora/v1/chat/completions", {"key": ""}, model="sora2-landscape-10s", messages=bad.USER),
        post("/openai/v1/chat/completions", model="sora2-landscape-10s", messages=[]),
    ]


def _alone(name: str) -> list[Step]:
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


_PREFIXES = """
[server]
public_url = "https://video.example.com/base"
[dialects.lightx2v]
prefix = "/light"
auth = false
vocabulary = "server"
[dialects.wan22-predict]
prefix = "/v4/app"
[dialects.wan21-submit]
prefix = "/v1/wan"
[dialects.openai-chat]
prefix = "/openai"
auth = false
[dialects.openai-videos]
prefix = "/openai"
[dialects.sora2api]
prefix = "/sora"
auth = false
models = ["ltx2_portrait"]
"""


def setups() -> list[Setup]:
    """Return everything that is compared."""
    secret = {"WEBHOOK_SECRET": _SECRET}
    idle = ("--no-worker",)
    people = {"alice": 'plan = "chatgpt_pro"', "bob": ""}
    quotas = {**people, "queued": "max_queued = 1", "active": "max_active = 1"}
    small = "[server]\nmax_body = 300000\n[queue]\nmax_queued = 5\n"
    limits = '[fetch]\nallow = ["127.0.0.1"]\nmax_bytes = 100000\n'
    return [
        Setup("without keys", _FETCH + _WEBHOOKS + _aliases(), _working(), secrets=secret),
        Setup("with keys", _FETCH + _aliases() + _keys(**people), _private(), clients=tuple(people)),
        Setup("without a worker", _FETCH + _QUICK + _aliases(), _queued(), idle),
        Setup(
            "with limits",
            small + limits + _QUICK + _aliases() + _keys(**quotas),
            _limited(),
            idle,
            tuple(quotas),
        ),
        Setup("below prefixes", _FETCH + _PREFIXES + _keys(**people), _prefixed(), idle, tuple(people)),
        Setup(
            "with keys, reordered",
            f"[dialects]\nenabled = {list(reversed(DIALECTS))}\n" + _keys(**people),
            [get(DOCUMENT), get("/v1/models")],
            idle,
            tuple(people),
        ),
        *(
            Setup(f"{name} alone", f'[dialects]\nenabled = ["{name}"]\n', _alone(name), idle)
            for name in DIALECTS
        ),
    ]
