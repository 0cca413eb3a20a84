"""What keys may do, refused in each dialect's own body."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
import requests

from framegate.server.dialect import READS
from tests.support.http_stand import Stand, start_stand


def key(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), **values}


KEYS = [
    key("all"),
    key("reader", scopes=["read"]),
    key("submitter", scopes=["submit"]),
    key("admin", scopes=["admin"]),
    key("small", models=["sora2-landscape-10s", "lightx2v"]),
    key("sora", dialects=["sora2api"]),
    key("chat", dialects=["openai-chat"]),
    key("predict", dialects=["wan22-predict"]),
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as running:
        yield start_stand(running, tmp_path_factory.mktemp("scopes"), auth={"keys": KEYS})


def call(stand: Stand, name: str, method: str, path: str, json: Any = None) -> requests.Response:
    headers = {"Authorization": f"Bearer {name}-key"}
    return requests.request(method, stand.url + path, json=json, headers=headers, timeout=30)


IMAGE = {"prompt": "a boat at dawn", "image_url": "https://example.com/a.png"}
CHAT = {"messages": [{"role": "user", "content": "a boat"}]}
SUBMISSIONS: Mapping[str, tuple[str, Any]] = {
    "framegate": ("/api/v1/jobs", {"prompt": "x"}),
    "lightx2v": ("/v1/tasks/video", {"prompt": "x"}),
    "openai-videos": ("/v1/videos", {"prompt": "x"}),
    "openai-images": ("/v1/images/generations", {"prompt": "x"}),
    "openai-responses": ("/v1/responses", {"input": "x", "tools": [{"type": "image_generation"}]}),
    "openai-chat": ("/v1/chat/completions", {"model": "ltx2_landscape", **CHAT}),
    "sora2api": ("/v1/videos/generate", {"model": "sora2-landscape-15s", "prompt": "x"}),
    "sora2api-image": ("/v1/images/generate", {"model": "gpt-image", "prompt": "x"}),
    "sora2api-chat": ("/v1/chat/completions", {"model": "sora2-landscape-15s", **CHAT}),
    "wan21-submit": ("/video/submit", IMAGE),
    "wan22-predict": ("/predict", {"prompt": "x"}),
}
BODIES: Mapping[str, Callable[[Any, str], bool]] = {
    "framegate": lambda body, words: words in body["detail"],
    "lightx2v": lambda body, words: words in body["detail"],
    "wan21-submit": lambda body, words: words in body["detail"]["reason"],
    "wan22-predict": lambda body, words: words in body["error"],
}


def assert_refused(answer: requests.Response, dialect: str, words: str) -> None:
    assert answer.status_code == 403, answer.text
    body = answer.json()
    if check := BODIES.get(dialect):
        assert check(body, words), body
    else:
        assert body["error"].keys() == {"message", "type", "param", "code"}
        assert words in body["error"]["message"], body


@pytest.mark.parametrize("dialect", SUBMISSIONS)
def test_submitting_needs_its_scope(guarded: Stand, dialect: str) -> None:
    path, body = SUBMISSIONS[dialect]
    before = len(guarded.jobs())
    for name in ("reader", "admin"):
        answer = call(guarded, name, "POST", path, body)
        assert_refused(answer, dialect, f"{name!r} may not do this: it needs the scope submit")
    assert len(guarded.jobs()) == before


def test_the_scope_is_checked_before_the_body(guarded: Stand) -> None:
    headers = {"Authorization": "Bearer reader-key"}
    for path, _ in SUBMISSIONS.values():
        answer = requests.post(guarded.url + path, data=b"{", headers=headers, timeout=30)
        assert answer.status_code == 403


CHANGES = [
    ("framegate", "POST", "/api/v1/jobs/mine/cancel"),
    ("framegate", "POST", "/api/v1/jobs/mine/retry"),
    ("framegate", "DELETE", "/api/v1/jobs/mine"),
    ("framegate", "DELETE", "/api/v1/characters/ann001"),
    ("lightx2v", "DELETE", "/v1/tasks/mine"),
    ("lightx2v", "DELETE", "/v1/tasks/all/running"),
    ("openai-videos", "DELETE", "/v1/videos/video_1"),
    ("openai-videos", "POST", "/v1/videos/video_1/remix"),
    ("openai-videos", "POST", "/v1/videos/characters"),
    ("openai-videos", "DELETE", "/v1/videos/characters/ann001"),
    ("sora2api", "POST", "/v1/characters/create"),
    ("wan21-submit", "POST", "/video/cancel"),
]


@pytest.mark.parametrize(("dialect", "method", "path"), CHANGES)
def test_changing_needs_the_scope_submit(guarded: Stand, dialect: str, method: str, path: str) -> None:
    assert_refused(call(guarded, "reader", method, path, {}), dialect, "needs the scope submit")
    assert call(guarded, "all", method, path, {}).status_code != 403


READING = [
    ("framegate", "GET", "/api/v1/jobs", None),
    ("framegate", "GET", "/api/v1/jobs/mine", None),
    ("framegate", "GET", "/api/v1/jobs/mine/events", None),
    ("framegate", "GET", "/api/v1/jobs/mine/results/0", None),
    ("framegate", "GET", "/api/v1/models", None),
    ("framegate", "GET", "/api/v1/me", None),
    ("lightx2v", "GET", "/v1/tasks/", None),
    ("lightx2v", "GET", "/v1/tasks/mine/status", None),
    ("lightx2v", "GET", "/v1/files/download/mine.mp4", None),
    ("openai-videos", "GET", "/v1/videos", None),
    ("openai-videos", "GET", "/v1/videos/video_1", None),
    ("openai-chat", "GET", "/v1/models", None),
    ("sora2api", "GET", "/v1/tasks/task_1", None),
    ("wan21-submit", "POST", "/video/status", {"requestId": "1"}),
]


@pytest.mark.parametrize(("dialect", "method", "path", "body"), READING)
def test_reading_needs_its_scope(guarded: Stand, dialect: str, method: str, path: str, body: Any) -> None:
    for name in ("submitter", "admin"):
        assert_refused(call(guarded, name, method, path, body), dialect, "needs the scope read, and has")
    assert call(guarded, "reader", method, path, body).status_code in (200, 404)


def test_head_reads(guarded: Stand) -> None:
    assert call(guarded, "submitter", "HEAD", "/v1/tasks/").status_code == 403
    assert call(guarded, "reader", "HEAD", "/v1/tasks/").status_code == 200


def test_public_files_need_no_scope(guarded: Stand) -> None:
    assert call(guarded, "admin", "GET", "/v1/files/nothing.mp4").status_code == 404


@pytest.mark.parametrize("dialect", [name for name in SUBMISSIONS if name != "lightx2v"])
def test_models_that_a_key_may_not_use(guarded: Stand, dialect: str) -> None:
    path, body = SUBMISSIONS[dialect]
    before = len(guarded.jobs())
    assert_refused(call(guarded, "small", "POST", path, body), dialect, "'small' may not use the model ")
    assert len(guarded.jobs()) == before


def test_nothing_is_fetched_for_a_model_that_a_key_may_not_use(guarded: Stand) -> None:
    taken = len(guarded.media.taken)
    body = {"video": "https://example.com/v.mp4", "prompt": "x", "stream": True}
    answer = call(
        guarded, "small", "POST", "/v1/characters/generate", {**body, "model": "sora2-landscape-15s"}
    )
    assert_refused(answer, "sora2api", "'small' may not use the model sora2-landscape-15s")
    assert len(guarded.media.taken) == taken


def test_models_that_a_key_may_use(guarded: Stand) -> None:
    assert call(guarded, "small", "POST", "/v1/tasks/video", {"prompt": "x"}).status_code == 200
    body = {"model": "sora2-landscape-10s", "prompt": "x", "async_mode": True}
    assert call(guarded, "small", "POST", "/v1/videos/generate", body).status_code == 200
    image = call(guarded, "small", "POST", "/v1/tasks/image", {"prompt": "x"})
    assert_refused(image, "lightx2v", "'small' may not use the model lightx2v-image")


def names(answer: requests.Response) -> set[str]:
    return {model["id"] for model in answer.json()["data"]}


def test_lists_show_what_a_key_may_use(guarded: Stand) -> None:
    everything = names(call(guarded, "all", "GET", "/v1/models"))
    assert names(call(guarded, "small", "GET", "/v1/models")) == {"sora2-landscape-10s", "lightx2v"}
    assert names(call(guarded, "chat", "GET", "/v1/models")) == everything
    sora = names(call(guarded, "sora", "GET", "/v1/models"))
    assert "sora2-landscape-10s" in sora < everything
    assert "ltx2_landscape" not in sora
    shown = "/v1/models/sora2-landscape-10s", "/v1/models/ltx2_landscape"
    for name, statuses in {"all": (200, 200), "small": (200, 404), "sora": (200, 404)}.items():
        assert tuple(call(guarded, name, "GET", path).status_code for path in shown) == statuses


def test_dialects_that_a_key_may_call(guarded: Stand) -> None:
    for dialect, (path, body) in SUBMISSIONS.items():
        if dialect != "wan22-predict" and path != "/v1/chat/completions":
            answer = call(guarded, "predict", "POST", path, body)
            assert_refused(answer, dialect, "'predict' may not call the API ")
    refused = call(guarded, "predict", "POST", "/v1/chat/completions", SUBMISSIONS["openai-chat"][1])
    assert_refused(refused, "openai-chat", "may not call the API openai-chat or sora2api")
    with guarded.working():
        assert call(guarded, "predict", "POST", "/predict", {"prompt": "x"}).status_code == 200


def test_a_shared_route_is_answered_by_the_dialects_that_the_key_may_call(guarded: Stand) -> None:
    path, claimed = SUBMISSIONS["sora2api-chat"]
    _, unclaimed = SUBMISSIONS["openai-chat"]
    with guarded.working():
        assert call(guarded, "sora", "POST", path, claimed).status_code == 200
        assert guarded.jobs()[-1].dialect == "sora2api"
        assert call(guarded, "chat", "POST", path, claimed).status_code == 200
        assert guarded.jobs()[-1].dialect == "openai-chat"
        assert call(guarded, "chat", "POST", path, unclaimed).status_code == 200
    unknown = call(guarded, "sora", "POST", path, unclaimed)
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "model")


def test_handlers_that_read_say_so() -> None:
    assert READS == {"scope": "read"}
