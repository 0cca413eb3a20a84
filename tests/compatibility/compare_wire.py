"""Compare what two versions answer: ``python -m tests.compatibility.compare_wire OLD NEW``.

The arguments are two ``framegate`` commands. Both serve every dialect with the preview backend; both are sent
the same requests, good and bad ones. Their OpenAPI documents and their answers (status, content type, JSON)
have to be equal, but for what differs between any two runs (ids, times, ports), for the names of schema
components, and for texts written for people, whose differences are only listed.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import requests

from tests.support.running import RunningServer, eventually

PHOTO = Path(__file__).parents[2] / "docs" / "images" / "photo.jpg"
TEXTS = {"message", "msg", "detail", "reason", "error_message", "description", "summary", "title", "prompt"}
PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4APMOGVHYHSAE4gAQ/ol7pD"
    "AAAAAElFTkSuQmCC"
)
CONFIG = """
[aliases.small]
model = "sora2-landscape-10s"
defaults = { width = 128, height = 96, duration = 1.0 }
[aliases.small-image]
model = "gpt-image"
defaults = { width = 128, height = 96 }
[dialects.lightx2v]
model = "small"
[dialects.wan22-predict]
model = "small"
[dialects.wan21-submit]
model = "small"
"""
KEYS = """
[[auth.keys]]
name = "alice"
sha256 = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
"""  # of "secret"

Answer: TypeAlias = tuple[int, str, Any]
Exchange: TypeAlias = tuple[str, Callable[[str], requests.Response]]
Differences: TypeAlias = Iterator[tuple[str, Any, Any, bool]]


def post(path: str, **body: Any) -> Exchange:
    return f"POST {path} {body}"[:150], lambda url: requests.post(url + path, json=body, timeout=120)


def get(path: str) -> Exchange:
    return f"GET {path}", lambda url: requests.get(url + path, timeout=30)


def send(method: str, path: str, data: bytes = b"", content_type: str = "application/json") -> Exchange:
    headers = {"Content-Type": content_type}
    return (
        f"{method} {path} {data[:60]!r} {content_type}",
        lambda url: requests.request(method, url + path, data=data, headers=headers, timeout=30),
    )


def form(path: str, *files: str, **fields: Any) -> Exchange:
    def exchange(url: str) -> requests.Response:
        content = {name: ("photo.jpg", PHOTO.read_bytes(), "image/jpeg") for name in files}
        return requests.post(url + path, data=fields, files=content or {"": ("", b"")}, timeout=120)

    return f"POST form {path} {files} {fields}"[:150], exchange


def chat(**fields: Any) -> Exchange:
    return post("/v1/chat/completions", **fields)


def followed(
    path: str, status: str, done: Callable[[dict[str, Any]], bool], id_field: str, **body: Any
) -> Exchange:
    """Submit a job, wait for its end by polling, and answer with the last state."""

    def exchange(url: str) -> requests.Response:
        made = requests.post(url + path, json=body, timeout=60)
        if made.status_code >= 400:
            return made
        where = url + status.format(id=made.json()[id_field])

        def look() -> requests.Response | None:
            answer = requests.get(where, timeout=30)
            return answer if answer.status_code >= 400 or done(answer.json()) else None

        return eventually(look, seconds=120, what=where)

    return f"FOLLOW {path} {body}"[:150], exchange


SMALL = {"prompt": "a boat on a lake", "width": 128, "height": 96, "seed": 7}
USER = [{"role": "user", "content": "a boat on a lake"}]
PICTURE = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "a boat"}, {"type": "image_url", "image_url": {"url": PNG}}],
    }
]
FEATURES = (
    "images/generate",
    "images/transform",
    "videos/generate",
    "videos/transform",
    "videos/remix",
    "videos/storyboard",
    "characters/create",
    "characters/generate",
)
POSTS = (
    "/v1/tasks/video",
    "/v1/tasks/image",
    "/v1/tasks/",
    "/v1/videos",
    "/v1/videos/edits",
    "/v1/videos/extensions",
    "/v1/videos/characters",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/chat/completions",
    "/predict",
    "/video/submit",
    "/video/status",
    "/video/cancel",
    *(f"/v1/{feature}" for feature in FEATURES),
)
EXCHANGES: list[Exchange] = [
    *(get(path) for path in ("/health", "/ready", "/v1/models", "/docs", "/predict-page", "/openapi.json")),
    *(
        get(path)
        for path in ("/v1/service/status", "/v1/service/metadata", "/v1/tasks/queue/status", "/v1/tasks/")
    ),
    *(
        get(f"/v1/{name}")
        for name in ("tasks/none", "tasks/none/status", "tasks/none/result", "files/download/x")
    ),
    *(
        get(f"/v1/videos{rest}")
        for rest in ("", "?limit=0", "?limit=101", "?order=no", "/none", "/none/content")
    ),
    *(get(path) for path in ("/", "/nothing", "/v1/nothing", "/v1/videos/characters/none", "/view/none")),
    *(send(method, "/v1/videos/none") for method in ("DELETE", "PUT", "PATCH")),
    *(send("DELETE", f"/v1/tasks/{name}") for name in ("none", "running", "all/running")),
    *(
        send("POST", path, data)
        for path in POSTS
        for data in (b"", b"{", b"[]", b"null", b"{}", b'{"prompt": ""}')
    ),
    *(send("POST", path, b'{"prompt": 5, "model": [], "seed": "x", "image": 1}') for path in POSTS),
    *(send("POST", path, b"a=b", "application/x-www-form-urlencoded") for path in POSTS),
    *(send("POST", path, b"--x\r\n", "multipart/form-data; boundary=x") for path in POSTS),
    *(send("PUT", path, b"{}") for path in POSTS),
    *(post(path, prompt="a boat", model="no-such-model", image=PNG) for path in POSTS),
    *(post(path, prompt="a boat", seed=-1, image=PNG) for path in POSTS),
    *(post(path, prompt="a boat", width=7, height=100_000, image=PNG) for path in POSTS),
    *(
        post(path, prompt="a boat", image="https://10.0.0.1/x.png", image_url="http://localhost/x")
        for path in POSTS
    ),
    *(post(path, prompt="a boat", image="data:image/png;base64,AAAA", image_url="no") for path in POSTS),
    post("/predict", **SMALL, num_frames=9),
    post("/predict", **SMALL, num_frames=10, fps=200),
    post("/predict", prompt="a boat", num_inference_steps=0),
    post("/v1/tasks/image/sync", **SMALL),
    post("/v1/images/generations", prompt="a boat", model="small-image", size="128x96", seed=7),
    post("/v1/images/generations", prompt="a boat", model="small-image", size="129x96", seed=7),
    post("/v1/images/generations", prompt="a boat", model="small-image", n=11),
    post(
        "/v1/images/generations", prompt="a boat", model="small-image", stream=True, seed=7, partial_images=2
    ),
    form("/v1/images/edits", "image", prompt="a boat", model="small-image", seed="7", size="128x96"),
    form("/v1/images/edits", prompt="a boat", model="small-image"),
    form("/v1/images/variations", "image", model="small-image", seed="7", size="128x96"),
    form("/v1/tasks/video/form", "image_file", prompt="a boat", task_id="form-job"),
    form(
        "/v1/videos", "input_reference", prompt="a boat", model="small", seconds="4", size="128x96", seed="7"
    ),
    form("/v1/videos", prompt="a boat", model="small", seconds="x"),
    chat(model="small", messages=USER, seed=7),
    chat(model="small", messages=USER, seed=7, stream=True),
    chat(model="small", messages=PICTURE, seed=7),
    chat(model="small-image", messages=USER, seed=7, stream=True),
    chat(model="sora2-landscape-10s", messages=USER),
    chat(model="sora2-landscape-10s", messages=[], stream=True),
    chat(model="ltx2_landscape", messages=USER),
    chat(model="small", messages=[{"role": "user", "content": [{"type": "text"}]}]),
    chat(model="small", messages=[{"role": "system", "content": "x"}]),
    *(post(f"/v1/{name}", model="small", prompt="a boat", image=PNG, seed=7) for name in FEATURES),
    *(
        post(f"/v1/{name}", model="small", prompt="a boat", image=PNG, seed=7, async_mode=True)
        for name in FEATURES
    ),
    *(
        post(f"/v1/{name}", model="small", prompt="a boat", image=PNG, seed=7, stream=True)
        for name in FEATURES
    ),
    post("/v1/videos/storyboard", model="small", prompt="[1.0s]a boat [1.0s]the sea", seed=7, stream=True),
    followed("/v1/tasks/video", "/v1/tasks/{id}/status", lambda s: bool(s["end_time"]), "task_id", **SMALL),
    followed("/v1/tasks/image", "/v1/tasks/{id}/status", lambda s: bool(s["end_time"]), "task_id", **SMALL),
    followed(
        "/v1/videos",
        "/v1/videos/{id}",
        lambda s: s["status"] == "completed",
        "id",
        model="small",
        prompt="a boat",
        seed=7,
    ),
    followed(
        "/v1/videos/generate",
        "/v1/tasks/{id}",
        lambda s: s["status"] != "processing",
        "task_id",
        model="small",
        prompt="a boat",
        seed=7,
        stream=False,
        async_mode=True,
    ),
]


def answers(command: tuple[str, ...], folder: Path, config: str) -> Iterator[tuple[str, Answer]]:
    server = RunningServer(folder / "data", config=config, command=command).wait_until_ready()
    try:
        for name, exchange in EXCHANGES:
            answer = exchange(server.url)
            kind = answer.headers.get("Content-Type", "")
            yield name, (answer.status_code, kind, _body(answer, kind))
    finally:
        server.stop()


def _body(answer: requests.Response, kind: str) -> Any:
    if "json" in kind:
        body = answer.json()
        return _inlined(body, body) if "openapi" in body else _plain(body)
    if kind.startswith("text/event-stream"):
        return sorted({_PLAIN_NUMBER.sub("#", _plain(line)) for line in answer.text.splitlines() if line})
    if kind.startswith("text/"):
        return _plain(answer.text)
    return len(answer.content) > 0


_VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z]*_?[0-9a-f]{16,}|127\.0\.0\.1:\d+"
    r"|\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?"
    r"|[A-Za-z0-9+/]{200,}={0,2}|\d{10}(\.\d+)?"
)
_PLAIN_NUMBER = re.compile(r"\d+(\.\d+)?")


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _plain(value: Any, key: str = "") -> Any:
    if _is_object(value):
        return {name: _plain(item, name) for name, item in value.items()}
    if _is_array(value):
        return [_plain(item, key) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub("*", value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "*" if number and re.search(r"_at|time|created|inference|seed", key) else value


def _inlined(value: Any, document: Any, depth: int = 0) -> Any:
    """Return an OpenAPI document without its components: each reference is replaced by what it names."""
    if _is_array(value):
        return [_inlined(item, document, depth) for item in value]
    if not _is_object(value):
        return value
    if "$ref" in value:
        target = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return _inlined(target, document, depth + 1) if depth < 12 else "…"
    left_out = ("components", "version", "operationId")
    return {name: _inlined(item, document, depth) for name, item in value.items() if name not in left_out}


def differences(old: Any, new: Any, where: str = "") -> Differences:
    """Yield (place, old, new, whether it is a text for people) for every difference."""
    if _is_object(old) and _is_object(new):
        for name in {**old, **new}:
            yield from differences(old.get(name), new.get(name), f"{where}/{name}")
    elif _is_array(old) and _is_array(new) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{where}/{index}")
    elif old != new:
        text = isinstance(old, str) and isinstance(new, str)
        yield where, old, new, text and any(part in TEXTS for part in where.split("/")[-2:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    arguments = parser.parse_args()
    wrong = texts = compared = 0
    for config in (CONFIG, CONFIG + KEYS):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            pairs = zip(
                answers((arguments.old,), Path(one), config),
                answers((arguments.new,), Path(other), config),
                strict=True,
            )
            for (name, old), (_, new) in pairs:
                compared += 1
                for where, before, after, text in differences(list(old), list(new)):
                    texts += text
                    wrong += not text
                    kind = "text" if text else "DIFFERENT"
                    print(f"{kind} {name}\n  {where}\n  - {before!r}\n  + {after!r}"[:1500])
    print(f"{compared} exchanges compared: {wrong} different, {texts} texts differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
