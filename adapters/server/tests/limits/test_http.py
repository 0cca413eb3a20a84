"""Limits as clients meet them: 429 in each dialect's own body, with the time after which to try again."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from framegate.core.characters import Character
from framegate.core.jobs import JobState
from framegate.core.types import MediaKind, MediaRef
from tests.support.http_stand import Stand, StandMaker
from tests.support.sample_jobs import make_job

PREFIXES = {"wan21-submit": {"prefix": "/wan"}}
VIA_PROXY = {"trusted_proxies": ["127.0.0.1"]}


def key(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(f"{name}-key".encode()).hexdigest(), **values}


def bearer(name: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}-key", **headers}


def coming_from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def get(stand: Stand, headers: dict[str, str], path: str = "/v1/tasks/task_none") -> requests.Response:
    return requests.get(stand.url + path, headers=headers, timeout=10)


def statuses(
    stand: Stand, count: int, headers: dict[str, str], path: str = "/v1/tasks/x/status"
) -> list[int]:
    return [get(stand, headers, path).status_code for _ in range(count)]


def openai_error(body: Any) -> Any:
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    return body["error"]["message"]


def quota_error(body: Any) -> Any:
    assert (body["error"]["type"], body["error"]["code"]) == ("insufficient_quota", "insufficient_quota")
    return body["error"]["message"]


def sora_quota_error(body: Any) -> Any:
    assert (body["error"]["type"], body["error"]["code"]) == ("rate_limit_error", "insufficient_quota")
    return body["error"]["message"]


def detail(body: Any) -> Any:
    return body["detail"]


def reason(body: Any) -> Any:
    return body["detail"]["reason"]


def sentence(body: Any) -> Any:
    return body["error"]


DIALECTS: list[tuple[str, str, Callable[[Any], Any]]] = [
    ("POST", "/v1/videos/generate", openai_error),
    ("GET", "/v1/videos/video_1", openai_error),
    ("POST", "/v1/images/generations", openai_error),
    ("POST", "/v1/chat/completions", openai_error),
    ("POST", "/v1/responses", openai_error),
    ("GET", "/v1/tasks/x/status", detail),
    ("POST", "/predict", sentence),
    ("POST", "/wan/video/submit", reason),
]


@pytest.mark.parametrize(("method", "path", "message_of"), DIALECTS)
def test_each_dialect_says_429_in_its_own_way(
    make_stand: StandMaker, method: str, path: str, message_of: Any
) -> None:
    stand = make_stand(
        PREFIXES,
        auth={"keys": [key("alice", requests_per_minute=1)]},
        server=VIA_PROXY,
        limits={"address_requests_per_minute": 3, "address_failed_logins_per_minute": 1},
    )

    def call(headers: dict[str, str]) -> requests.Response:
        return requests.request(method, stand.url + path, json={}, headers=headers, timeout=10)

    def refusal(headers: dict[str, str]) -> str:
        answer = call(headers)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 61
        message = str(message_of(answer.json()))
        assert f"try again in {answer.headers['Retry-After']} s" in message
        return message

    assert call(bearer("alice", **coming_from("192.0.2.1"))).status_code not in (401, 429)
    assert "This key has sent as many requests as it may, which is 1 requests" in refusal(
        bearer("alice", **coming_from("192.0.2.1"))
    )
    assert call(coming_from("192.0.2.2")).status_code == 401
    assert "wrong API key" in refusal(bearer("nobody", **coming_from("192.0.2.2")))
    refusal(coming_from("192.0.2.2"))
    assert "Your address has sent as many" in refusal(coming_from("192.0.2.2"))


def test_keys_have_the_default_rate_or_their_own(make_stand: StandMaker) -> None:
    stand = make_stand(
        auth={"keys": [key("alice"), key("bob", requests_per_minute=5), key("cid", requests_per_minute=0)]},
        limits={"requests_per_minute": 2},
    )
    assert statuses(stand, 4, bearer("alice")) == [404, 404, 429, 429]
    assert statuses(stand, 6, bearer("bob")) == [404] * 5 + [429]
    assert statuses(stand, 30, bearer("cid")) == [404] * 30
    assert statuses(stand, 30, bearer("cid"), "/health") == [200] * 30


def test_without_settings_nothing_is_limited_but_failures(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice")]})
    assert statuses(stand, 150, bearer("alice")) == [404] * 150
    assert statuses(stand, 110, bearer("wrong")) == [401] * 100 + [429] * 10


def test_a_key_s_burst_is_limited_apart(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice", requests_per_minute=1000, request_burst=2)]})
    answers = [get(stand, bearer("alice")) for _ in range(30)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) > 10
    assert {answer.headers["Retry-After"] for answer in refused} == {"1"}
    assert "2 of them within a second" in refused[0].json()["error"]["message"]


def test_the_address_is_the_client_s_behind_trusted_proxies_only(make_stand: StandMaker) -> None:
    limits = {"address_requests_per_minute": 2}
    believing = make_stand(server=VIA_PROXY, limits=limits)
    assert statuses(believing, 3, coming_from("192.0.2.1")) == [404, 404, 429]
    assert statuses(believing, 1, coming_from("192.0.2.2")) == [404]
    assert statuses(believing, 1, coming_from("198.51.100.9, 192.0.2.1")) == [429], (
        "the client wrote the first"
    )
    assert statuses(believing, 2, {"Forwarded": "for=192.0.2.3;proto=http"}) == [404, 404]
    assert statuses(believing, 1, {"Forwarded": 'for="192.0.2.3:9000"'}) == [429]
    other = make_stand(limits=limits)
    found = [get(other, coming_from(f"192.0.2.{number}")).status_code for number in range(4)]
    assert found == [404, 404, 429, 429], "headers of anybody else say nothing"


def test_an_ipv6_address_stands_for_its_network(make_stand: StandMaker) -> None:
    stand = make_stand(server=VIA_PROXY, limits={"address_requests_per_minute": 2})
    found = [get(stand, coming_from(f"2001:db8:1:2::{n:x}")).status_code for n in range(1, 4)]
    assert found == [404, 404, 429]
    assert statuses(stand, 1, coming_from("[2001:db8:1:2:ffff::1]:443")) == [429]
    assert statuses(stand, 1, coming_from("2001:db8:1:3::1")) == [404]
    assert statuses(stand, 2, coming_from("::ffff:192.0.2.1")) == [404, 404]
    assert statuses(stand, 1, coming_from("192.0.2.1")) == [429], "the same address, written in the other way"


@pytest.mark.parametrize("garbage", ["", "unknown", "_hidden", "1.2.3.4.5", "x" * 5000, "[::1", "é"])
def test_what_is_no_address_counts_as_the_proxy(make_stand: StandMaker, garbage: str) -> None:
    stand = make_stand(server=VIA_PROXY, limits={"address_requests_per_minute": 2})
    headers: Any = {"X-Forwarded-For": garbage.encode("latin-1")}
    assert statuses(stand, 3, headers) == [404, 404, 429]


def test_probes_and_unknown_paths(make_stand: StandMaker) -> None:
    stand = make_stand(limits={"address_requests_per_minute": 2})
    assert statuses(stand, 3, {}, "/nothing/here") == [404, 404, 429]
    assert get(stand, {}, "/nothing/here").json()["code"] == "rate_limited"
    assert statuses(stand, 5, {}, "/health") == statuses(stand, 5, {}, "/ready") == [200] * 5


def test_wrong_keys_don_t_lock_out_who_shares_the_address(make_stand: StandMaker) -> None:
    stand = make_stand(
        auth={"keys": [key("alice"), key("bob")]}, limits={"address_failed_logins_per_minute": 3}
    )
    assert statuses(stand, 1, bearer("alice")) == [404]
    assert statuses(stand, 2, bearer("old")) == [401, 401]
    assert statuses(stand, 3, {}) == [401, 429, 429]
    assert statuses(stand, 3, bearer("alice")) == [404] * 3, "it was let in from here before"
    assert statuses(stand, 2, bearer("bob")) == [429, 429], "a right guess is not told from a wrong one"
    assert get(stand, {}, "/docs").status_code == 200, "what needs no key is not refused"


def test_the_key_is_not_looked_at_then(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = make_stand(auth={"keys": [key("alice")]}, limits={"address_failed_logins_per_minute": 1})
    assert statuses(stand, 2, bearer("wrong")) == [401, 429]

    def digest(*_: object) -> None:
        raise AssertionError("a key was hashed")

    monkeypatch.setattr(hashlib, "sha256", digest)
    assert statuses(stand, 3, bearer("other")) == [429] * 3


def test_a_limit_of_zero_is_none(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice")]}, limits={"address_failed_logins_per_minute": 0})
    assert statuses(stand, 120, bearer("wrong")) == [401] * 120


def test_a_key_fills_its_share_of_the_queue_only(make_stand: StandMaker) -> None:
    keys = [key("alice"), key("bob", max_queued=1), key("cid", max_queued=0)]
    stand = make_stand({"wan22-predict": {"auth": False}}, auth={"keys": keys}, queue={"max_queued": 6})

    def submit(name: str) -> int:
        body = {"model": "sora2-landscape-10s", "prompt": "x", "async_mode": True}
        return requests.post(
            f"{stand.url}/v1/videos/generate", json=body, headers=bearer(name), timeout=10
        ).status_code

    assert [submit("alice") for _ in range(4)] == [200, 200, 200, 429]
    assert [submit("bob") for _ in range(2)] == [200, 429]
    assert [submit("cid") for _ in range(5)] == [200] * 5, "no limit of its own"


def test_who_comes_without_a_key_has_a_share_too(make_stand: StandMaker) -> None:
    options = {"lightx2v": {"auth": False}}
    stand = make_stand(options, auth={"keys": [key("alice")]}, queue={"max_queued": 4})
    url = f"{stand.url}/v1/tasks/video"
    found = [requests.post(url, json={"prompt": "x"}, timeout=10).status_code for _ in range(3)]
    assert found == [200, 200, 429]
    keyless = make_stand(options, queue={"max_queued": 4})
    url = f"{keyless.url}/v1/tasks/video"
    found = [requests.post(url, json={"prompt": "x"}, timeout=10).status_code for _ in range(5)]
    assert found == [200] * 5, "the stand's own limit is 100"


def test_stored_bytes(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice", max_stored_bytes=1000), key("bob")]})
    url = f"{stand.url}/v1/videos"

    def post(name: str) -> requests.Response:
        form = {"prompt": "x", "model": "sora-2"}
        return requests.post(url, data=form, headers=bearer(name), timeout=10)

    made = post("alice").json()["id"]
    stand.run_next()
    answer = post("alice")
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["x-should-retry"] == "false", "the SDKs would wait for it"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert "bytes" in error["message"]
    assert post("bob").status_code == 200
    assert requests.delete(f"{url}/{made}", headers=bearer("alice"), timeout=10).ok
    assert post("alice").status_code == 200


def test_bytes_of_records(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice", max_record_bytes=5000), key("bob")]})
    url = f"{stand.url}/v1/videos"

    def post(name: str, prompt: str) -> requests.Response:
        form = {"prompt": prompt, "model": "sora-2"}
        return requests.post(url, data=form, headers=bearer(name), timeout=10)

    made = post("alice", "x" * 1500).json()["id"]
    answer = post("alice", "x" * 1500)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert "records of this key's jobs" in error["message"]
    assert post("bob", "x" * 1500).status_code == 200
    assert requests.delete(f"{url}/{made}", headers=bearer("alice"), timeout=10).ok
    assert post("alice", "x" * 1500).status_code == 200


IMAGE = {"image_url": "https://example.com/a.png"}
SUBMISSIONS: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("/v1/videos", {"prompt": "x", "model": "sora-2"}, quota_error),
    ("/v1/images/generations", {"prompt": "x", "model": "gpt-image-1"}, quota_error),
    ("/v1/videos/generate", {"prompt": "x", "model": "sora2-landscape-10s"}, sora_quota_error),
    ("/v1/tasks/video", {"prompt": "x"}, detail),
    ("/api/v1/jobs", {"prompt": "x"}, detail),
    ("/predict", {"prompt": "x"}, sentence),
    ("/wan/video/submit", {"prompt": "a boat on a lake", **IMAGE}, reason),
]


@pytest.mark.parametrize(("path", "body", "message_of"), SUBMISSIONS)
def test_gpu_seconds_of_a_day(
    make_stand: StandMaker, path: str, body: dict[str, Any], message_of: Any
) -> None:
    stand = make_stand(
        PREFIXES,
        auth={"keys": [key("alice"), key("bob", daily_gpu_seconds=0)]},
        limits={"daily_gpu_seconds": 90},
    )
    for owner in ("alice", "bob"):
        ran = replace(make_job("before", owner=owner), state=JobState.RUNNING, started_at=10.0)
        stand.store.usage.count_end(ran, replace(ran, state=JobState.FAILED, finished_at=100.0))

    answer = requests.post(stand.url + path, json=body, headers=bearer("alice"), timeout=10)
    assert answer.status_code == 429, answer.text
    assert abs(int(answer.headers["Retry-After"]) - (86_400 - time.time() % 86_400)) < 10
    assert "90 s today" in message_of(answer.json())
    assert stand.jobs() == []
    with stand.working():
        unlimited = requests.post(stand.url + path, json=body, headers=bearer("bob"), timeout=10)
    assert unlimited.ok, unlimited.text


async def character(stand: Stand, username: str, owner: str) -> Character:
    made = Character(
        id=f"id-{username}",
        username=username,
        display_name="Ann",
        owner=owner,
        avatar=f"characters/{username}/avatar.png",
        reference=MediaRef(MediaKind.IMAGE, f"characters/{username}/reference.png", 640, 480),
        created_at=1.0,
    )
    for file in made.files:
        path = stand.artifacts.workdir("x") / "picture"
        path.touch()
        stand.artifacts.put(path, file)
    assert await stand.characters.add(made)
    return made


async def test_a_key_deletes_its_own_characters(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [key("alice"), key("bob")]})
    ann, _ = [await character(stand, username, "alice") for username in ("ann001", "ben002")]

    def delete(name: str, username: str) -> requests.Response:
        return requests.delete(f"{stand.url}/v1/characters/{username}", headers=bearer(name), timeout=10)

    for who, username in (("bob", "ann001"), ("alice", "nobody"), ("alice", "x" * 3000)):
        answer = delete(who, username)
        assert answer.status_code == 404
        assert answer.json()["error"]["type"] == "invalid_request_error"
    assert delete("nobody", "ann001").status_code == 401
    assert await stand.characters.get("ann001") == ann
    answer = delete("alice", "ann001")
    assert (answer.status_code, answer.json()) == (200, {"username": "ann001", "deleted": True})
    assert [stand.artifacts.path(file) for file in ann.files] == [None, None]
    assert delete("alice", "ann001").status_code == 404
    assert delete("alice", "@ben002").status_code == 200
    assert await stand.characters.get("ben002") is None


CHARACTERS = [
    ("sora2api", "/v1/characters/create", "/v1/characters", "username"),
    ("openai-videos", "/v1/videos/characters", "/v1/videos/characters", "id"),
]


@pytest.mark.parametrize(("dialect", "creating", "below", "name"), CHARACTERS)
def test_a_key_has_as_many_characters_as_it_may(
    make_stand: StandMaker, dialect: str, creating: str, below: str, name: str
) -> None:
    stand = make_stand(auth={"keys": [key("alice", max_characters=1, dialects=[dialect]), key("bob")]})

    def create(owner: str) -> requests.Response:
        if dialect == "sora2api":
            body: dict[str, Any] = {
                "json": {"video": "https://example.com/v.mp4", "stream": True, "timestamps": "0,1"}
            }
        else:
            body = {"data": {"name": "Ann"}, "files": {"video": ("v.mp4", b"video", "video/mp4")}}
        return requests.post(stand.url + creating, headers=bearer(owner), timeout=10, **body)

    def delete(owner: str, username: str) -> requests.Response:
        return requests.delete(f"{stand.url}{below}/{username}", headers=bearer(owner), timeout=10)

    assert create("alice").status_code == 200
    answer = create("alice")
    kind = "rate_limit_error" if dialect == "sora2api" else "insufficient_quota"
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, kind)
    assert "characters" in answer.json()["error"]["message"]
    assert create("bob").status_code == 200

    made = {made.owner: made.username for made in asyncio.run(stand.services.characters.list())}
    assert delete("alice", made["bob"]).status_code == 404
    deleted = delete("alice", made["alice"])
    assert (deleted.status_code, deleted.json()[name], deleted.json()["deleted"]) == (
        200,
        made["alice"],
        True,
    )
    assert delete("alice", made["alice"]).status_code == 404
    assert create("alice").status_code == 200
