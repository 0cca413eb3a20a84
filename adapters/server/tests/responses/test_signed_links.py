"""Links to results that expire, over a socket, in every dialect that has any."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pytest
import requests

from framegate.core.errors import ConfigError, Unavailable
from framegate.core.jobs import Job
from framegate.core.options import DurationOrForever, EnvSecret
from framegate.core.settings import LinkSettings
from framegate.core.testing import InMemorySecretStore, gradient_png
from framegate.core.types import MediaKind
from framegate.server.errors.error_info import LinkRefused
from framegate.server.responses.link_signing import LinkSigner, make_signer
from tests.support.http_stand import CONTENT, Stand, StandMaker, start_stand
from tests.support.result_links import links_of_all

KEY = {"Authorization": "Bearer alice's"}
AUTH = {"keys": [{"name": "alice", "sha256": hashlib.sha256(b"alice's").hexdigest()}]}
DIALECTS = ("openai-chat", "openai-videos", "sora2api", "wan21-submit")
HOUR = 3600
_SIGNED = re.compile(r"expires=(\d{10})&signature=([\w-]{43})", re.ASCII)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


clock = Clock()


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("signed")
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        yield start_stand(
            running,
            folder,
            auth=AUTH,
            links={"expiry": HOUR},
            server={"trusted_proxies": ["127.0.0.1"]},
            clock=clock,
        )


@pytest.fixture(scope="module")
def links(stand: Stand) -> Mapping[str, str]:
    """A signed link of each dialect, made at the clock's beginning."""
    return links_of_all(stand, KEY)


@pytest.fixture(autouse=True)
def wound_back() -> Iterator[None]:
    yield
    clock.now = Clock().now


def get(url: str, method: str = "GET", **headers: str) -> requests.Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.request(method, url, headers=sent, timeout=10, allow_redirects=False)


def job_of(stand: Stand, link: str) -> Job:
    match = re.search(r"([0-9a-f]{32})_1\.", link)
    assert match
    return stand.job(match[1])


def with_query(link: str, **changes: str | None) -> str:
    """Return the link with some of its parameters changed, or left out if None."""
    parts = urlsplit(link)
    query: dict[str, str | None] = {**dict(parse_qsl(parts.query)), **changes}
    kept = {name: value for name, value in query.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(kept)))


def message_of(dialect: str, answer: requests.Response) -> str:
    """Return what an error says, in its dialect's own body."""
    body = answer.json()
    if dialect == "wan21-submit":
        assert set(body) == {"detail"}
        return str(body["detail"]["reason"])
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["type"] == "invalid_request_error"
    return str(body["error"]["message"])


def test_every_dialect_signs(links: Mapping[str, str]) -> None:
    assert set(links) == set(DIALECTS)
    for dialect, link in links.items():
        match = _SIGNED.search(link)
        assert match, dialect
        assert int(match[1]) == Clock().now + HOUR


@pytest.mark.parametrize("dialect", DIALECTS)
class TestEachDialect:
    def test_its_files_are_sent(self, stand: Stand, links: Mapping[str, str], dialect: str) -> None:
        link = links[dialect]
        whole = get(link)
        content = CONTENT[job_of(stand, link).request.task.output]
        assert (whole.status_code, whole.content) == (200, content)
        head = get(link, "HEAD")
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(content)))
        part = get(link, Range="bytes=4-9")
        assert (part.status_code, part.content) == (206, content[4:10])
        kept = get(link, If_None_Match=whole.headers["ETag"])
        assert kept.status_code == 304

    def test_players_may_add_to_the_query(self, links: Mapping[str, str], dialect: str) -> None:
        for link in (f"{links[dialect]}&download=1", with_query(links[dialect], t="3.5", Expires="1")):
            assert get(link).status_code == 200
        head, _, query = links[dialect].partition("?")
        assert get(f"{head}?download=1&&x&{query}").status_code == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"expires": None},
            {"signature": None},
            {"expires": None, "signature": None},
            {"expires": ""},
            {"signature": ""},
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_unsigned(
        self, links: Mapping[str, str], dialect: str, changes: Mapping[str, str | None], method: str
    ) -> None:
        answer = get(with_query(links[dialect], **changes), method)
        assert answer.status_code == 403
        if method == "GET":
            said = message_of(dialect, answer)
            assert said == (
                "This link is not signed, which links to results have to be; "
                "ask for the result again to get a new link."
            )

    def test_each_part_is_signed(self, stand: Stand, links: Mapping[str, str], dialect: str) -> None:
        link = links[dialect]
        match = _SIGNED.search(link)
        assert match
        expires, signature = match[1], match[2]
        flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
        other = links_of_all(stand, KEY)[dialect]
        other_match = _SIGNED.search(other)
        assert other_match
        assert other_match[2] != signature
        for changed in (
            with_query(link, expires=str(int(expires) + 1)),
            with_query(link, expires=f"0{expires}"),
            with_query(link, expires=f"{expires}.0"),
            with_query(link, expires=f" {expires}"),
            with_query(link, expires="9" * 5000),
            with_query(link, expires="never"),
            with_query(link, signature=flipped),
            with_query(link, signature=signature[:-1]),
            with_query(link, signature=f"{signature}="),
            with_query(link, signature="é" * 43),
            with_query(link, signature="%00"),
            link.replace(signature, "%ff%fe"),
            with_query(link, signature=other_match[2]),
            link.replace(job_of(stand, link).id, job_of(stand, other).id),
            link.replace(job_of(stand, link).id, "0" * 32),  # no such job: which nobody learns
        ):
            answer = get(changed)
            assert answer.status_code == 403, changed
            assert message_of(dialect, answer).startswith("The signature of this link is not valid; ask")
        for twice in (
            f"{link}&expires={expires}",
            f"{link}&signature={signature}",
            link + "&a=1" * 100,
        ):
            assert get(twice).status_code == 403

    def test_links_of_other_dialects(self, stand: Stand, links: Mapping[str, str], dialect: str) -> None:
        """A signature is for one dialect's file, though another has the same name for one of its own."""
        for other, link in links.items():
            if other != dialect:
                swapped = links[dialect].replace(job_of(stand, links[dialect]).id, job_of(stand, link).id)
                swapped = with_query(swapped, **dict(_query(link)))
                assert get(swapped).status_code in (403, 404)

    def test_it_expires(self, links: Mapping[str, str], dialect: str) -> None:
        clock.now += HOUR - 1
        assert get(links[dialect]).status_code == 200
        clock.now += 1
        for method in ("GET", "HEAD"):
            answer = get(links[dialect], method)
            assert answer.status_code == 410
        answer = get(links[dialect], Range="bytes=0-1")
        assert answer.status_code == 410
        assert message_of(dialect, answer) == (
            "This link expired at 2027-01-15T09:00:00Z; ask for the result again to get a new link."
        )
        # One that has expired says so only to those who had it.
        assert get(with_query(links[dialect], signature="A" * 43)).status_code == 403

    def test_it_ends_with_its_job(self, stand: Stand, dialect: str) -> None:
        link = links_of_all(stand, KEY)[dialect]
        assert get(link).status_code == 200
        asyncio.run(stand.services.jobs.delete(job_of(stand, link).id))
        assert get(link).status_code == 404

    def test_it_ends_with_its_file(self, stand: Stand, dialect: str) -> None:
        link = links_of_all(stand, KEY)[dialect]
        stand.artifacts.delete(job_of(stand, link).artifacts[0].key)
        answer = get(link)
        assert answer.status_code == 404
        assert "retention" in message_of(dialect, answer)

    def test_below_a_proxy_s_prefix(self, stand: Stand, dialect: str) -> None:
        headers = {"X-Forwarded-Prefix": "/video", "X-Forwarded-Proto": "https"}
        link = links_of_all(stand, {**KEY, **headers})[dialect]
        start = stand.url.replace("http://", "https://") + "/video"
        assert link.startswith(f"{start}/")
        inner = stand.url + link.removeprefix(start)
        assert get(inner).status_code == 200
        assert get(inner, **headers).status_code == 200


def _query(link: str) -> list[tuple[str, str]]:
    return [
        (name, value) for name, value in parse_qsl(urlsplit(link).query) if name in ("expires", "signature")
    ]


def test_an_image_in_another_format(stand: Stand) -> None:
    body = {"prompt": "x", "response_format": "url", "output_format": "jpeg", "model": "gpt-image-1"}
    with stand.working():
        made = requests.post(f"{stand.url}/v1/images/generations", json=body, headers=KEY, timeout=20).json()
    link = made["data"][0]["url"]
    assert get(link).headers["Content-Type"] == "image/jpeg"
    assert get(link.partition("?")[0]).status_code == 403
    clock.now += HOUR
    assert get(link).status_code == 410


def test_streams_and_tasks_sign_too(stand: Stand) -> None:
    message = [{"role": "user", "content": "a boat"}]
    for model in ("sora2-landscape-10s", "ltx2_landscape"):
        with stand.working():
            body = {"model": model, "messages": message, "stream": True}
            stream = requests.post(f"{stand.url}/v1/chat/completions", json=body, headers=KEY, timeout=20)
        texts = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
        content = "".join(text["choices"][0]["delta"].get("content") or "" for text in texts)
        found = re.findall(r"https?://[^\s\"')]+", content)
        assert [get(link).status_code for link in found] == [200]
        assert _SIGNED.search(found[0])
    body = {"prompt": "x", "async_mode": True}
    task = requests.post(f"{stand.url}/v1/videos/generate", json=body, headers=KEY, timeout=20).json()
    url = f"{stand.url}/v1/tasks/{task['task_id']}"
    assert requests.get(url, headers=KEY, timeout=10).json()["result_urls"] is None
    stand.run_next()
    (link,) = requests.get(url, headers=KEY, timeout=10).json()["result_urls"]
    clock.now += HOUR
    assert get(link).status_code == 410
    (again,) = requests.get(url, headers=KEY, timeout=10).json()["result_urls"]
    assert again != link
    assert get(again).status_code == 200


def test_a_deleted_job_takes_its_link_with_it(stand: Stand) -> None:
    """Deleted by its own API; the link was made by the images API of the same dialect."""
    link = links_of_all(stand, KEY)["openai-videos"]
    job = job_of(stand, link)
    requests.delete(f"{stand.url}/v1/videos/{job.id}", headers=KEY, timeout=10)
    assert get(link).status_code == 200, "an image is not a video, and stays"
    video = requests.post(f"{stand.url}/v1/videos", json={"prompt": "x"}, headers=KEY, timeout=10).json()
    stand.run_next()
    content = f"{stand.url}/v1/videos/{video['id']}/content"
    assert get(content, **KEY).status_code == 200
    requests.delete(f"{stand.url}/v1/videos/{video['id']}", headers=KEY, timeout=10).raise_for_status()
    assert get(content, **KEY).status_code == 404


def test_where_a_key_is_needed_it_is_enough(stand: Stand) -> None:
    body = {"prompt": "x", "task_id": "cat"}
    requests.post(f"{stand.url}/v1/tasks/image", json=body, headers=KEY, timeout=10).raise_for_status()
    stand.run_next()
    state = requests.get(f"{stand.url}/v1/tasks/cat/status", headers=KEY, timeout=10).json()
    assert "signature" not in state["file_path"]
    for path in ("/v1/tasks/cat/result", f"/v1/files/download/{state['file_path']}"):
        assert get(stand.url + path, **KEY).status_code == 200
        assert get(stand.url + path).status_code == 401


def test_links_are_plain_by_default(make_stand: StandMaker) -> None:
    stand = make_stand(auth=AUTH)
    for dialect, link in links_of_all(stand, KEY).items():
        assert "expires" not in link, dialect
        assert get(link).status_code == 200
        assert get(link + ("&" if "?" in link else "?") + "expires=1&signature=x").status_code == 200


def test_the_public_url_may_have_a_path(make_stand: StandMaker) -> None:
    start = "https://fixed.example/films"
    stand = make_stand(
        {"sora2api": {"prefix": "/sora"}}, auth=AUTH, links={"expiry": HOUR}, server={"public_url": start}
    )
    body = {"prompt": "x", "async_mode": True}
    task = requests.post(f"{stand.url}/sora/v1/videos/generate", json=body, headers=KEY, timeout=20).json()
    stand.run_next()
    state = requests.get(f"{stand.url}/sora/v1/tasks/{task['task_id']}", headers=KEY, timeout=10).json()
    (link,) = state["result_urls"]
    assert link.startswith(f"{start}/sora/v1/files/")
    assert get(stand.url + link.removeprefix(start)).status_code == 200


@pytest.mark.parametrize(("left", "lives"), [(HOUR, HOUR), (600, 600), (0.5, 1)])
def test_a_bucket_s_link_lives_no_longer(
    make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch, left: float, lives: int
) -> None:
    stand = make_stand(auth=AUTH, links={"expiry": HOUR}, clock=clock)
    links = links_of_all(stand, KEY)
    asked: list[float] = []

    def bucket(key: str, *, method: str, seconds: float) -> str:
        asked.append(seconds)
        return f"https://bucket.example/{key}?{method}"

    monkeypatch.setattr(stand.artifacts, "link", bucket)
    clock.now += HOUR - left
    for dialect, link in links.items():
        answer = get(link)
        assert answer.headers["Location"].startswith("https://bucket.example/"), dialect
        assert answer.headers["Cache-Control"] == "no-store"
        assert asked.pop() == lives


async def test_an_old_secret_stays_valid_beside_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_LINKS", "o" * 32)
    monkeypatch.setenv("NEW_LINKS", "n" * 32)
    old, new, store = EnvSecret("OLD_LINKS"), EnvSecret("NEW_LINKS"), InMemorySecretStore()

    def signer(*secrets: EnvSecret) -> LinkSigner:
        return make_signer(LinkSettings(expiry=DurationOrForever(HOUR), secret=secrets), store)

    made: Any = {"query_string": (await signer(old).sign("dialect/file")).encode()}
    for accepting in (signer(old), signer(new, old)):
        assert await accepting.check("dialect/file", made) is not None
    for refusing in (signer(new), signer()):
        with pytest.raises(LinkRefused):
            await refusing.check("dialect/file", made)
    shared: Any = {"query_string": (await signer().sign("dialect/file")).encode()}
    assert await signer().check("dialect/file", shared) is not None, "hosts share a secret"


def test_a_secret_that_can_not_be_read(make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    stand = make_stand(auth=AUTH, links={"expiry": HOUR})

    async def unreachable(name: str) -> bytes:
        raise Unavailable(f"The job queue can't be reached right now ({name}).")

    created: Any = stand.services.secrets.get_or_create
    monkeypatch.setattr(stand.services.secrets, "get_or_create", unreachable)
    refused = get(f"{stand.url}/videos/{'0' * 32}_1.mp4?expires=1&signature=x")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    monkeypatch.setattr(stand.services.secrets, "get_or_create", created)
    assert get(links_of_all(stand, KEY)["wan21-submit"]).status_code == 200


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"expiry": 0}, r"links\.expiry: 0 s is too short for any download; write a duration"),
        ({"expiry": 0.5}, r"links\.expiry: 0\.5 s is too short"),
        ({"expiry": HOUR, "secret": {"env": "NO_LINKS"}}, r"links\.secret: .* NO_LINKS is not set"),
        (
            {"expiry": HOUR, "secret": [{"env": "SHORT_LINKS"}]},
            r"links\.secret: .* SHORT_LINKS holds 7 characters, and a secret has 32 or more; `openssl rand",
        ),
    ],
)
def test_wrong_settings(
    make_stand: StandMaker, monkeypatch: pytest.MonkeyPatch, table: Mapping[str, Any], said: str
) -> None:
    monkeypatch.setenv("SHORT_LINKS", "hunter2")
    with pytest.raises(ConfigError, match=said) as refused:
        make_stand(links=table)
    assert "hunter2" not in refused.value.message
