"""The server's own API: jobs, their lists, events and files."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from framegate.core.ports import Base64Source, BytesSource, UrlSource
from framegate.core.types import MediaKind, StoryboardShot, Task
from framegate.server.testing import DialectContract
from tests.support.http_stand import CONTENT, Stand, StandMaker

PICTURE = "https://example.com/cat.png"
ALICE, BOB, ROOT = "alice-key-0123456789abcdef", "bob-key-0123456789abcdef", "root-key-0123456789abcdef"
KEYS = [
    {"name": "alice", "key": {"env": "ALICE_KEY"}, "plan": "gold", "max_queued": 4},
    {"name": "bob", "key": {"env": "BOB_KEY"}},
    {"name": "root", "key": {"env": "ROOT_KEY"}, "scopes": ["submit", "read", "admin"]},
]


class Caller:
    """A client of the API, with a key or without."""

    def __init__(self, stand: Stand, key: str = "") -> None:
        self.url = f"{stand.url}/api/v1"
        self.session = requests.Session()
        if key:
            self.session.headers["Authorization"] = f"Bearer {key}"

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=30, **options)

    def get(self, path: str, **parameters: Any) -> Any:
        answer = self("GET", path, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, **body: Any) -> Any:
        answer = self("POST", "/jobs", json={"prompt": "a cat", **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def refused(self, method: str, path: str, status: int, **options: Any) -> Any:
        answer = self(method, path, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["type"].startswith("urn:framegate:error:")
        assert problem["request_id"] == answer.headers["X-Request-ID"]
        return problem

    def wrong_fields(self, **body: Any) -> dict[str, Any]:
        """The values that are refused, by field."""
        problem = self.refused("POST", "/jobs", 422, json={"prompt": "a cat", **body})
        return {error["field"]: error["value"] for error in problem["errors"]}


@pytest.fixture
def caller(stand: Stand) -> Caller:
    return Caller(stand)


@pytest.fixture
def keyed(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> Stand:
    for name, key in (("ALICE_KEY", ALICE), ("BOB_KEY", BOB), ("ROOT_KEY", ROOT)):
        monkeypatch.setenv(name, key)
    return make_stand(auth={"keys": KEYS})


class TestContract(DialectContract):
    """How it handles bad requests."""

    posts = ("/jobs",)
    unknown_path = "/jobs/a/b/c"

    @pytest.fixture
    def base_url(self, shared_stand: Stand) -> str:
        return f"{shared_stand.url}/api/v1"

    def is_error_body(self, body: Any) -> bool:
        return set(body) == {"type", "title", "status", "detail", "errors", "request_id"}


# Jobs.


def test_a_job_from_its_submission_to_its_end(stand: Stand, caller: Caller) -> None:
    job = caller.submit(
        model="sora-2",
        width=650,
        height=370,
        duration=2,
        seed=7,
        negative_prompt="dogs",
        style="anime",
        metadata={"for": "me"},
        priority=3,
    )
    assert (job["state"], job["position"], job["progress"], job["attempt"]) == ("queued", 1, 0.0, 0)
    assert (job["model"], job["served_by"], job["task"]) == ("sora-2", "preview", "text-to-video")
    assert (job["results"], job["error"], job["eta_seconds"]) == ([], None, None)
    assert (job["started_at"], job["finished_at"], job["expires_at"]) == (None, None, None)
    assert job["metadata"] == {"for": "me"}
    assert job["share_id"].startswith("s_")
    used = job["request"]
    assert used["prompt"] == "a cat"
    assert (used["width"], used["height"], used["num_frames"], used["fps"]) == (650, 370, 48, 24.0)
    assert (used["duration"], used["seed"], used["style"], used["negative_prompt"]) == (
        2.0,
        7,
        "anime",
        "dogs",
    )
    assert (used["priority"], used["num_outputs"], used["image"]) == (3, 1, None)
    assert (used["num_inference_steps"], used["guidance_scale"]) == (30, 5.0)
    created = datetime.fromisoformat(job["created_at"])
    assert abs(created - datetime.now(UTC)) < timedelta(minutes=1)
    assert caller.get(f"/jobs/{job['id']}") == job
    stand.claim()
    stand.store.advance(job["id"], 0.5, "step 1 of 2")
    running = caller.get(f"/jobs/{job['id']}")
    assert (running["state"], running["progress"], running["message"]) == ("running", 0.5, "step 1 of 2")
    assert (running["position"], running["attempt"]) == (None, 1)
    stand.finish(stand.job(job["id"]))
    done = caller.get(f"/jobs/{job['id']}")
    assert (done["state"], done["progress"]) == ("succeeded", 1.0)
    kept = datetime.fromisoformat(done["expires_at"]) - datetime.fromisoformat(done["finished_at"])
    assert kept == timedelta(hours=1)
    [result] = done["results"]
    assert (result["kind"], result["content_type"], result["size"]) == ("video", "video/mp4", 1036)
    answer = caller.session.get(result["url"], timeout=10)
    assert answer.content == CONTENT[MediaKind.VIDEO]
    assert answer.headers["Content-Disposition"].startswith("inline")


def test_values_that_the_model_can_not_take_are_changed_and_said(caller: Caller) -> None:
    [change] = caller.submit(fps=500)["changes"]
    assert change == {"field": "fps", "asked": 500.0, "used": 60.0, "why": "the model takes 1 to 60"}


def test_a_failed_job_says_why(stand: Stand, caller: Caller) -> None:
    job = caller.submit()
    stand.fail(stand.claim(), "it melted")
    failed = caller.get(f"/jobs/{job['id']}")
    assert failed["state"] == "failed"
    assert failed["error"] == {"code": "generation_failed", "message": "it melted"}


@pytest.mark.parametrize(
    ("body", "task"),
    [
        ({}, Task.TEXT_TO_VIDEO),
        ({"image": PICTURE}, Task.IMAGE_TO_VIDEO),
        ({"image": PICTURE, "last_image": PICTURE}, Task.IMAGE_TO_VIDEO),
        ({"model": "gpt-image-1"}, Task.TEXT_TO_IMAGE),
        ({"model": "gpt-image-1", "image": PICTURE}, Task.IMAGE_TO_IMAGE),
        ({"num_outputs": 2}, Task.TEXT_TO_IMAGE),
        ({"image": PICTURE, "mask": PICTURE}, Task.IMAGE_TO_IMAGE),
        ({"task": "text-to-image"}, Task.TEXT_TO_IMAGE),
        ({"video": "https://example.com/cat.mp4"}, Task.VIDEO_TO_VIDEO),
        ({"video": "https://example.com/cat.mp4", "extend": True}, Task.IMAGE_TO_VIDEO),
        ({"video": "https://example.com/cat.mp4", "task": "video-to-video"}, Task.VIDEO_TO_VIDEO),
    ],
)
def test_the_inputs_tell_the_task(shared_stand: Stand, body: dict[str, Any], task: Task) -> None:
    assert Caller(shared_stand).submit(**body)["task"] == task


def test_inputs_are_urls_data_uris_files_and_results(stand: Stand, caller: Caller) -> None:
    job = caller.submit(image=PICTURE, last_image="data:image/png;base64,AAAA", prompt="")
    assert stand.media.taken == [UrlSource(PICTURE), Base64Source("data:image/png;base64,AAAA")]
    shown = {"kind": "image", "width": 640, "height": 640}
    assert (job["request"]["image"], job["request"]["last_image"]) == (shown, shown)
    files = {"image": ("a.png", b"an image"), "mask": ("m.png", b"a mask")}
    form = {"prompt": "a cat", "task": "image-to-image", "metadata[a]": "b", "seed": "5", "style": ""}
    answer = caller("POST", "/jobs", data=form, files=files)
    assert answer.status_code == 202, answer.text
    assert stand.media.taken[2:] == [BytesSource(b"an image"), BytesSource(b"a mask")]
    assert answer.json()["metadata"] == {"a": "b"}
    assert answer.json()["request"]["seed"] == 5
    stand.run_next()
    made = stand.run_next()
    again = caller.submit(image={"job": made.id}, num_outputs=2)
    image = stand.job(again["id"]).request.image
    assert image is not None
    assert image.key not in (made.artifacts[0].key, "")
    copied = stand.artifacts.path(image.key)
    assert copied is not None
    assert copied.read_bytes() == CONTENT[MediaKind.IMAGE]
    reference = json.dumps({"job": made.id, "result": 0})
    form_answer = caller("POST", "/jobs", files={"image": (None, reference), "prompt": (None, "a cat")})
    assert form_answer.status_code == 202, form_answer.text


def test_a_video_is_continued_and_remixed(stand: Stand, caller: Caller) -> None:
    first = caller.submit(width=320, height=192, num_frames=33, fps=16)
    done = stand.run_next()
    extended = caller.submit(video={"job": first["id"], "result": 0}, extend=True, duration=1)
    assert (extended["task"], extended["request"]["extend"]) == ("image-to-video", True)
    assert (extended["request"]["width"], extended["request"]["height"]) == (320, 192)
    assert extended["request"]["video"] == {"kind": "video", "width": 320, "height": 192}
    remixed = caller.submit(remix_of=first["share_id"], resolution="96p", duration=1)
    assert remixed["request"]["width"] * remixed["request"]["height"] <= 96 * 96 * 16 / 9 + 1
    assert done.share_id == first["share_id"]


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"aspect": "16:9", "resolution": "720p"}, (1280, 720)),
        ({"aspect": "9:16", "resolution": "720p"}, (720, 1280)),
        ({"aspect": "1:1", "resolution": "480p"}, (480, 480)),
        ({"resolution": "480P", "image": PICTURE}, (640, 640)),
        ({"aspect": "1:1"}, (632, 632)),
        ({"aspect": "auto", "width": None}, (832, 480)),
        ({"width": 400}, (400, 230)),
    ],
)
def test_sizes(shared_stand: Stand, body: dict[str, Any], size: tuple[int, int]) -> None:
    used = Caller(shared_stand).submit(**body)["request"]
    assert (used["width"], used["height"]) == size


def test_a_storyboard(stand: Stand, caller: Caller) -> None:
    shots = [{"prompt": "it sits", "duration": 1}, {"prompt": "it jumps", "duration": 1.5}]
    job = caller.submit(storyboard=shots, prompt="a cat", fps=16)
    assert stand.job(job["id"]).request.storyboard == (
        StoryboardShot("a cat\nit sits", 1.0),
        StoryboardShot("a cat\nit jumps", 1.5),
    )
    assert job["request"]["num_frames"] == 40
    assert caller.submit(storyboard=shots, prompt="")["request"]["prompt"] == "it sits\nit jumps"
    assert caller.wrong_fields(storyboard=[{"prompt": "x", "duration": 1}] * 65).keys() == {"storyboard"}
    too_long = caller.refused("POST", "/jobs", 422, json={"storyboard": [{"prompt": "x", "duration": 999}]})
    assert [error["field"] for error in too_long["errors"]] == ["storyboard"]


def test_a_character_that_the_prompt_mentions(stand: Stand, caller: Caller) -> None:
    film = {"video": ("cat.mp4", b"film")}
    made = requests.post(
        f"{stand.url}/v1/videos/characters", data={"name": "Tom"}, files=film, timeout=10
    ).json()
    [shown] = caller.get("/characters")
    assert (shown["name"], shown["display_name"]) == (made["id"], "Tom")
    job = caller.submit(prompt=f"@{shown['name']} dances")
    assert (job["task"], job["request"]["image"]["kind"]) == ("image-to-video", "image")
    assert caller("DELETE", f"/characters/{shown['name']}").status_code == 204
    caller.refused("DELETE", f"/characters/{shown['name']}", 404)
    assert caller.get("/characters") == []


# Refusals.


def test_every_wrong_value_is_listed_with_its_value(shared_stand: Stand) -> None:
    caller = Caller(shared_stand)
    wrong: dict[str, Any] = {
        "width": 0,
        "fps": "fast",
        "seed": -1,
        "aspect": "wide",
        "resolution": "720",
        "style": "nothing",
        "model": "nothing",
        "num_frames": 1.5,
        "strength": 2,
        "priority": 1000,
        "webhook_url": 5,
        "no_such_field": True,
    }
    found = caller.wrong_fields(**{**wrong, "width": None}, height=0)
    assert found == {**{name: value for name, value in wrong.items() if name != "width"}, "height": 0}
    assert caller.wrong_fields(prompt=" ") == {"prompt": " "}
    many = {f"field{number}": 1 for number in range(80)}
    assert len(caller.wrong_fields(**many)) == 50


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"width": 640, "aspect": "1:1", "resolution": "480p"}, {"aspect", "resolution"}),
        ({"num_frames": 5, "duration": 2}, {"duration"}),
        ({"extend": True}, {"extend"}),
        ({"mask": PICTURE}, {"mask"}),
        ({"video": PICTURE, "remix_of": "s_1"}, {"remix_of"}),
        ({"video": PICTURE, "image": PICTURE}, {"image"}),
        ({"task": "image-to-video"}, {"task"}),
        ({"task": "image-to-video", "video": "https://example.com/cat.mp4"}, {"task"}),
        ({"task": "image-to-image"}, {"task"}),
        ({"task": "video-to-video"}, {"task"}),
        ({"task": "text-to-video", "image": PICTURE}, {"task"}),
        ({"audio": "https://example.com/a.mp3", "loras": ["x"], "postprocess": {"upscale": 2}},
         {"audio", "loras", "postprocess"}),
        ({"model": "gpt-image-1", "storyboard": [{"prompt": "x", "duration": 1}]}, {"storyboard"}),
        ({"model": "gpt-image-1", "num_outputs": 5}, {"num_outputs"}),
        ({"duration": 3000}, {"duration"}),
        ({"image": "file-abc"}, {"image"}),
        ({"image": {"job": "nothing"}}, {"image"}),
        ({"image": {"job": "nothing", "index": 1}}, {"image"}),
        ({"remix_of": "s_1"}, {"remix_of"}),
        ({"webhook_url": "https://example.com/hook"}, {"webhook_url"}),
        ({"metadata": {str(number): "x" for number in range(17)}}, {"metadata"}),
        ({"storyboard": [{"prompt": " ", "duration": 1}]}, {"storyboard[0].prompt"}),
    ],
)  # fmt: skip
def test_what_can_not_be_made_is_refused(shared_stand: Stand, body: dict[str, Any], fields: set[str]) -> None:
    before = len(shared_stand.jobs())
    assert Caller(shared_stand).wrong_fields(**body).keys() == fields
    assert len(shared_stand.jobs()) == before


def test_forms_are_checked_like_json(shared_stand: Stand) -> None:
    caller = Caller(shared_stand)
    files = {"image": ("a.png", b"x"), "poster": ("b.png", b"x")}
    form = {"prompt": "a cat", "fps": "fast", "metadata": "{", "loras": '["a"]'}
    problem = caller.refused("POST", "/jobs", 422, data=form, files=files)
    assert {error["field"] for error in problem["errors"]} == {"fps", "metadata", "loras", "poster"}
    twice = [("image", ("a.png", b"x")), ("image", ("b.png", b"x"))]
    assert caller.refused("POST", "/jobs", 422, data={"prompt": "a"}, files=twice)["errors"]


def test_unreadable_bodies_and_other_types(shared_stand: Stand) -> None:
    caller = Caller(shared_stand)
    headers = {"Content-Type": "application/json"}
    assert caller.refused("POST", "/jobs", 400, data="{", headers=headers)["errors"] == []
    caller.refused("POST", "/jobs", 415, data="a cat", headers={"Content-Type": "text/plain"})
    caller.refused("POST", "/jobs", 413, json={"prompt": "a cat " * 200_000})
    caller.refused("POST", "/jobs", 422, json={"prompt": "x" * 200_000})


def test_unknown_fields_are_ignored_if_the_config_says_so(make_stand: StandMaker) -> None:
    stand = make_stand({"framegate": {"unknown_fields": "ignore"}})
    answer = Caller(stand)("POST", "/jobs", json={"prompt": "a cat", "mood": "happy"})
    assert answer.status_code == 202
    assert "mood" in answer.headers["Warning"]


def test_results_that_can_not_be_used(stand: Stand, caller: Caller) -> None:
    job = caller.submit()
    reference = {"job": job["id"], "result": 0}
    body = {"prompt": "a cat", "video": reference}
    problem = caller.refused("POST", "/jobs", 422, json=body)
    assert problem["errors"][0]["value"] == reference
    assert "queued" in problem["detail"]
    done = stand.run_next()
    assert caller.wrong_fields(image=reference) == {"image": reference}
    assert caller.wrong_fields(video={"job": job["id"], "result": 1}).keys() == {"video"}
    stand.artifacts.delete(done.artifacts[0].key)
    assert caller.wrong_fields(video=reference) == {"video": reference}
    assert caller.refused("GET", f"/jobs/{job['id']}/results/0", 410)["type"].endswith("artifact_gone")


def test_a_full_queue_and_no_worker(make_stand: StandMaker) -> None:
    stand = make_stand(max_queued=1, worker_grace=0.0)
    caller = Caller(stand)
    caller.submit()
    for code in ("queue_full", "no_worker"):
        answer = caller("POST", "/jobs", json={"prompt": "a cat"})
        assert (answer.status_code, answer.json()["type"]) == (503, f"urn:framegate:error:{code}")
        assert int(answer.headers["Retry-After"]) > 0
        if code == "queue_full":
            stand.run_next()
            stand.store.living.clear()


# Idempotency, retries, cancelling, deleting.


def test_a_repeated_submission_is_one_job(stand: Stand, caller: Caller) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"prompt": "a cat"}
    first, second = (caller("POST", "/jobs", json=body, headers=headers) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    caller.refused("POST", "/jobs", 409, json={"prompt": "a dog"}, headers=headers)
    caller.refused("POST", "/jobs", 400, json=body, headers={"Idempotency-Key": "k" * 256})
    assert len(stand.jobs()) == 1


def test_retries(stand: Stand, caller: Caller) -> None:
    job = caller.submit(image=PICTURE, metadata={"a": "b"}, seed=5)
    path = f"/jobs/{job['id']}/retry"
    assert caller.refused("POST", path, 409)["type"].endswith("job_unfinished")
    stand.fail(stand.claim(), "it melted")
    image = stand.job(job["id"]).request.image
    assert image is not None
    (stand.folder / image.key).parent.mkdir(exist_ok=True)
    (stand.folder / image.key).write_bytes(b"an image")
    headers = {"Idempotency-Key": "k2"}
    again, repeated = (caller("POST", path, headers=headers) for _ in range(2))
    assert (again.status_code, repeated.json()) == (202, again.json())
    new = again.json()
    assert new["id"] != job["id"]
    assert (new["state"], new["request"], new["metadata"]) == ("queued", job["request"], {"a": "b"})
    (stand.folder / image.key).unlink()
    assert caller.refused("POST", path, 410)["type"].endswith("artifact_gone")
    caller.refused("POST", "/jobs/nothing/retry", 404)


def test_a_job_of_another_dialect_is_shown_and_retried(stand: Stand, caller: Caller) -> None:
    made = requests.post(f"{stand.url}/v1/videos", json={"prompt": "a cat"}, timeout=10).json()
    assert caller.get(f"/jobs/{made['id']}")["dialect"] == "openai-videos"
    assert caller("POST", f"/jobs/{made['id']}/cancel").json()["state"] == "cancelled"
    again = caller("POST", f"/jobs/{made['id']}/retry").json()
    shown = requests.get(f"{stand.url}/v1/videos/{again['id']}", timeout=10)
    assert shown.json()["status"] == "queued"
    listed = requests.get(f"{stand.url}/v1/videos", timeout=10).json()
    assert [video["id"] for video in listed["data"]] == [again["id"], made["id"]]


def test_cancelling_and_deleting(stand: Stand, caller: Caller) -> None:
    waiting, running, done = (caller.submit() for _ in range(3))
    stand.finish(stand.claim())
    assert caller("POST", f"/jobs/{waiting['id']}/cancel").json()["state"] == "succeeded"
    stand.claim()
    assert caller("POST", f"/jobs/{running['id']}/cancel").json()["state"] == "running"
    assert stand.job(running["id"]).cancel_requested
    assert caller("POST", f"/jobs/{done['id']}/cancel").json()["state"] == "cancelled"
    for job in (waiting, running, done):
        assert caller("DELETE", f"/jobs/{job['id']}").status_code == 204
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/events")):
            caller.refused(method, f"/jobs/{job['id']}{path}", 404)
    assert caller.get("/jobs") == {"items": [], "next": None}
    assert not list(stand.folder.glob("results/*"))


# Lists.


def test_lists_by_state_and_model_part_by_part(stand: Stand, caller: Caller) -> None:
    jobs = [caller.submit(model="sora-2" if number % 2 else "preview")["id"] for number in range(7)]
    stand.run_next()
    stand.claim()

    def listed(**parameters: Any) -> list[str]:
        ids: list[str] = []
        while True:
            part = caller.get("/jobs", **parameters)
            assert len(part["items"]) <= parameters.get("limit", 20)
            ids += [job["id"] for job in part["items"]]
            if part["next"] is None:
                return ids
            parameters["after"] = part["next"]

    newest_first = list(reversed(jobs))
    for limit in (1, 3, 7, 100):
        assert listed(limit=limit) == newest_first
    assert listed() == newest_first
    assert listed(state="succeeded") == [jobs[0]]
    assert listed(state=["succeeded", "running"], limit=1) == [jobs[1], jobs[0]]
    assert listed(model="sora-2", limit=2) == [jobs[5], jobs[3], jobs[1]]
    assert listed(model="sora-2", state="queued") == [jobs[5], jobs[3]]
    part = caller.get("/jobs", limit=3)
    newer = caller.submit()
    caller("DELETE", f"/jobs/{jobs[3]}")
    assert [job["id"] for job in caller.get("/jobs", limit=2, after=part["next"])["items"]] == jobs[2:0:-1]
    assert listed()[0] == newer["id"]
    for wrong in ({"limit": 0}, {"limit": 101}, {"after": "newest"}, {"state": "done"}):
        (error,) = caller.refused("GET", "/jobs", 422, params=wrong)["errors"]
        assert [error["field"]] == list(wrong)
    assert '"queued", "running", "succeeded", "failed" or "cancelled"' in error["message"]


def test_a_key_sees_its_own_jobs_only_and_an_operator_everybodys(keyed: Stand) -> None:
    alice, bob, root = (Caller(keyed, key) for key in (ALICE, BOB, ROOT))
    hers, his = alice.submit(priority=-5), bob.submit()
    assert "owner" not in hers
    assert "dialect" not in hers
    assert [job["id"] for job in alice.get("/jobs")["items"]] == [hers["id"]]
    assert root.get("/jobs")["items"] == []
    assert [job["owner"] for job in root.get("/jobs", owner="*")["items"]] == ["bob", "alice"]
    assert [job["id"] for job in root.get("/jobs", owner="bob")["items"]] == [his["id"]]
    assert root.get(f"/jobs/{his['id']}")["owner"] == "bob"
    alice.refused("GET", "/jobs", 403, params={"owner": "*"})
    alice.refused("GET", "/jobs", 403, params={"owner": "bob"})
    assert alice.get("/jobs", owner="alice")["items"]
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/results/0"),
        ("GET", "/partial/0"),
        ("GET", "/thumbnail"),
        ("POST", "/cancel"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ):
        alice.refused(method, f"/jobs/{his['id']}{path}", 404)
        Caller(keyed).refused(method, f"/jobs/{his['id']}{path}", 401)
    body = {"prompt": "a cat", "video": {"job": his["id"]}}
    alice.refused("POST", "/jobs", 422, json=body)
    alice.refused("POST", "/jobs", 403, json={"prompt": "a cat", "priority": 1})
    root("POST", f"/jobs/{his['id']}/cancel")
    assert root("POST", f"/jobs/{his['id']}/retry").json()["owner"] == "bob"
    for _ in range(3):
        alice.submit()
    refused = alice("POST", "/jobs", json={"prompt": "a cat"})
    assert (refused.status_code, "Retry-After" in refused.headers) == (429, True)


# Events.


def follow(caller: Caller, path: str) -> "requests.Response":
    return caller.session.get(caller.url + path, stream=True, timeout=30)


def events_of(answer: requests.Response) -> list[tuple[str, Any]]:
    """The events of a whole stream."""
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


def test_events_begin_at_once_and_end_with_the_final_state(stand: Stand, caller: Caller) -> None:
    job = caller.submit()
    with follow(caller, f"/jobs/{job['id']}/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        assert next(lines) == "event: job"
        assert json.loads(next(lines).removeprefix("data: ")) == job
        stand.claim()
        began = time.monotonic()
        for step in range(200):
            stand.store.advance(job["id"], step / 200)
            time.sleep(0.003)
        stand.finish(stand.job(job["id"]))
        rest = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        seconds = time.monotonic() - began
    assert rest[-1] == caller.get(f"/jobs/{job['id']}")
    assert rest[-1]["state"] == "succeeded"
    assert {each["state"] for each in rest[:-1]} <= {"queued", "running"}
    assert 1 <= len(rest) <= 5 * seconds + 2
    again = events_of(follow(caller, f"/jobs/{job['id']}/events"))
    assert again == [("job", rest[-1])]


def test_events_of_a_job_that_is_deleted_end_with_an_error(stand: Stand, caller: Caller) -> None:
    job = caller.submit()
    with follow(caller, f"/jobs/{job['id']}/events") as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        next(lines)
        caller("DELETE", f"/jobs/{job['id']}")
        rest = [line for line in lines if line]
    assert rest[-2] == "event: error"
    assert json.loads(rest[-1].removeprefix("data: "))["status"] == 404


def test_a_waiting_job_moves_up_in_its_events(
    stand: Stand, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framegate.server.dialects.framegate.events.HEARTBEAT_SECONDS", 0.05)
    caller.submit()
    second = caller.submit()
    with follow(caller, f"/jobs/{second['id']}/events") as answer:
        lines = answer.iter_lines(chunk_size=1, decode_unicode=True)
        states = (json.loads(line[6:]) for line in lines if line.startswith("data: "))
        assert next(states)["position"] == 2
        stand.run_next()
        assert next(states)["position"] == 1


# Files.


def test_result_files(stand: Stand, caller: Caller) -> None:
    job = caller.submit()
    stand.run_next()
    path = f"/jobs/{job['id']}/results/0"
    content = CONTENT[MediaKind.VIDEO]
    whole = caller("GET", path)
    assert whole.content == content
    part = caller("GET", path, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, content[4:8])
    head = caller("HEAD", path)
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", str(len(content)))
    unchanged = caller("GET", path, headers={"If-None-Match": whole.headers["ETag"]})
    assert unchanged.status_code == 304
    saved = caller("GET", path, params={"download": 1})
    assert saved.headers["Content-Disposition"] == f'attachment; filename="{job["id"]}-0.mp4"'
    for wrong in ("1", "-1", "99999999999999999999"):
        caller.refused("GET", f"/jobs/{job['id']}/results/{wrong}", 404)


def test_links_begin_with_the_public_url(make_stand: StandMaker) -> None:
    stand = make_stand(
        {"framegate": {"prefix": "/mine"}}, server={"public_url": "https://video.example.com/films"}
    )
    made = requests.post(f"{stand.url}/mine/jobs", json={"prompt": "a cat"}, timeout=10).json()
    stand.run_next()
    done = requests.get(f"{stand.url}/mine/jobs/{made['id']}", timeout=10).json()
    assert done["results"][0]["url"] == (f"https://video.example.com/films/mine/jobs/{made['id']}/results/0")
    assert requests.get(f"{stand.url}/api/v1/jobs", timeout=10).status_code == 404


@pytest.mark.usefixtures("real_images")
def test_partial_images_and_thumbnails(stand: Stand, caller: Caller) -> None:
    job = caller.submit(task="text-to-image", partial_images=2)
    caller.refused("GET", f"/jobs/{job['id']}/partial/0", 404)
    running = stand.claim()
    source = stand.artifacts.workdir("partial") / "image"
    source.write_bytes(CONTENT[MediaKind.IMAGE])
    stand.artifacts.put(source, running.partial_image_keys[0])
    partial = caller("GET", f"/jobs/{job['id']}/partial/0")
    assert (partial.status_code, partial.headers["Content-Type"]) == (200, "image/webp")
    assert partial.content[8:12] == b"WEBP"
    for number in ("1", "2", "-1"):
        caller.refused("GET", f"/jobs/{job['id']}/partial/{number}", 404)
    caller.refused("GET", f"/jobs/{job['id']}/thumbnail", 404)
    stand.finish(running)
    thumbnail = caller("GET", f"/jobs/{job['id']}/thumbnail")
    assert (thumbnail.status_code, thumbnail.content[8:12]) == (200, b"WEBP")
    assert caller("DELETE", f"/jobs/{job['id']}").status_code == 204
    assert not [path for path in stand.folder.rglob("*thumbnail*") if path.is_file()]


# What requests can name.


def test_models_have_what_a_form_needs(make_stand: StandMaker) -> None:
    stand = make_stand()
    models = {model["name"]: model for model in Caller(stand).get("/models")}
    preview, sora = models["preview"], models["sora-2"]
    assert {"sora-2", "gpt-image-1"} <= set(preview["aliases"])
    assert sora["aliases"] == []
    assert (sora["served_by"], sora["backend"], sora["ready"]) == ("preview", "nowhere:Nothing", True)
    assert sora["tasks"] == ["image-to-video", "text-to-video", "video-to-video"]
    assert models["gpt-image-1"]["tasks"] == ["image-to-image", "text-to-image"]
    assert sora["defaults"]["width"] == 720
    assert sora["defaults"]["num_inference_steps"] == 30
    assert sora["fps"] == {"min": 1, "max": 60}
    assert sora["sizes"]["multiple_of"] == 2
    assert sora["frames"]["max"] == 7200
    assert sora["options"] == ["last_image", "negative_prompt", "strength"]
    stand.store.living.clear()
    assert not any(model["ready"] for model in Caller(stand).get("/models"))


def test_styles_loras_and_dialects(shared_stand: Stand) -> None:
    caller = Caller(shared_stand)
    styles = {style["name"]: style for style in caller.get("/styles")}
    assert styles["anime"]["prompt"].startswith("anime")
    assert caller.get("/loras") == []
    dialects = {dialect["name"]: dialect for dialect in caller.get("/dialects")}
    assert dialects["framegate"]["prefix"] == "/api/v1"
    assert dialects["framegate"]["docs"] == f"{shared_stand.url}/docs#/framegate"
    assert dialects["lightx2v"]["prefix"] == ""
    assert len(dialects) == 7


def test_dialects_are_the_enabled_ones(make_stand: StandMaker) -> None:
    stand = make_stand({"sora2api": {"prefix": "/sora"}}, server={"docs": "off"})
    shown = {dialect["name"]: dialect for dialect in Caller(stand).get("/dialects")}
    assert (shown["sora2api"]["prefix"], shown["sora2api"]["docs"]) == ("/sora", None)


def test_me(keyed: Stand, shared_stand: Stand) -> None:
    mine = Caller(keyed, ALICE).get("/me")
    assert (mine["name"], mine["plan"], mine["scopes"]) == ("alice", "gold", ["submit", "read"])
    assert (mine["limits"]["max_queued"], mine["limits"]["max_running"]) == (4, 0)
    assert (mine["limits"]["daily_gpu_seconds"], mine["limits"]["timeout"]) == (0, 0.0)
    assert mine["usage"] == {"jobs": 0, "gpu_seconds": 0.0, "bytes": 0}
    Caller(keyed, ALICE).submit()
    made = keyed.run_next()
    used = Caller(keyed, ALICE).get("/me")["usage"]
    assert (used["jobs"], used["bytes"]) == (1, made.artifacts[0].size)
    assert used["gpu_seconds"] == pytest.approx(
        (made.finished_at or 0.0) - (made.started_at or 0.0), abs=1e-6
    )
    assert Caller(keyed, ROOT).get("/me")["usage"]["jobs"] == 0
    anybody = Caller(shared_stand).get("/me")
    assert (anybody["name"], anybody["scopes"]) == ("", ["submit", "read", "admin"])


def test_the_administration_is_mounted_for_operators_alone(keyed: Stand, make_stand: StandMaker) -> None:
    assert Caller(keyed, ROOT).get("/admin/keys")["items"]
    Caller(keyed, ALICE).refused("GET", "/admin/keys", 403)
    Caller(keyed).refused("GET", "/admin/keys", 401)
    Caller(keyed, ROOT).refused("GET", "/admin/nothing", 404)
    opened = make_stand({"framegate": {"auth": False}}, auth={"keys": KEYS})
    caller = Caller(opened)
    assert caller.get("/jobs")["items"] == []
    caller.refused("GET", "/admin/keys", 401)
    caller.refused("GET", "/jobs", 403, params={"owner": "*"})
    assert caller.get("/me")["scopes"] == ["submit", "read"]
