"""The loopback guard: what counts as this machine, and which requests are let in."""

import hashlib
import re
import time

import pytest
import requests

from framegate.server.auth.origins import (
    LOOPBACK_ORIGIN,
    is_loopback_authority,
    is_loopback_host,
    is_loopback_origin,
)
from tests.support.http_stand import Stand, StandMaker

LOCAL_HOSTS = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "app.localhost",
    "127.0.0.1",
    "127.9.8.7",
    "::1",
    "[::1]",
]
FOREIGN_HOSTS = [
    "example.com",
    "localhost.example.com",
    "notlocalhost",
    "127.0.0.1.example.com",
    "10.0.0.1",
    "0.0.0.0",
    "192.168.1.1",
    "::2",
    "2130706433",
    "127.1",
    "",
]


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_loopback_hosts(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_hosts(host: str) -> None:
    assert not is_loopback_host(host)


@pytest.mark.parametrize("authority", ["localhost:8000", "127.0.0.1", "[::1]:8000", "[::1]"])
def test_loopback_authorities(authority: str) -> None:
    assert is_loopback_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "evil.com:8000",
        "localhost@evil.com",
        "localhost:80:80",
        "localhost:x",
        "localhost/evil.com",
        "::1:8000",
    ],
)
def test_foreign_authorities(authority: str) -> None:
    assert not is_loopback_authority(authority)


@pytest.mark.parametrize(
    ("origin", "local"),
    [
        ("http://localhost:3000", True),
        ("https://127.0.0.1", True),
        ("http://[::1]:8000", True),
        ("http://app.localhost", True),
        ("null", False),
        ("", False),
        ("http://evil.com", False),
        ("http://localhost.evil.com", False),
        ("http://localhost@evil.com", False),
        ("chrome-extension://localhost", False),
        ("http://[::1", False),
    ],
)
def test_origins(origin: str, local: bool) -> None:
    assert is_loopback_origin(origin) == local
    assert (re.fullmatch(LOOPBACK_ORIGIN, origin) is not None) == local


@pytest.mark.parametrize("path", ["/health", "/predict", "/v1/tasks/", "/docs", "/no/such/path"])
@pytest.mark.parametrize(
    "header", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_foreign_requests_are_refused(shared_stand: Stand, path: str, header: dict[str, str]) -> None:
    answer = requests.get(shared_stand.url + path, headers=header, timeout=10)
    assert answer.status_code == 403
    assert "X-Request-ID" in answer.headers
    assert "evil" not in answer.text


def test_refusals_are_in_the_dialect_s_body(shared_stand: Stand) -> None:
    bodies = {
        path: requests.post(shared_stand.url + path, headers={"Origin": "null"}, timeout=10).json()
        for path in ("/predict", "/v1/tasks/video", "/elsewhere")
    }
    assert set(bodies["/predict"]) == {"error"}
    assert set(bodies["/v1/tasks/video"]) == {"detail"}
    assert set(bodies["/elsewhere"]) == {"detail", "code"}


def preflight(url: str, origin: str) -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return requests.options(url, headers=headers, timeout=10)


PATHS = ["/predict", "/v1/tasks/video", "/v1/tasks/x", "/v1/files/download/a/b.mp4"]


@pytest.mark.parametrize("path", PATHS)
def test_preflight_without_keys(shared_stand: Stand, path: str) -> None:
    answer = preflight(shared_stand.url + path, "http://localhost:3000")
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert preflight(shared_stand.url + path, "https://evil.example").status_code == 403


@pytest.mark.parametrize("path", PATHS)
def test_preflight_with_keys(make_stand: StandMaker, path: str) -> None:
    stand = make_stand(auth={"keys": [{"name": "alice", "sha256": "0" * 64}]})
    answer = preflight(stand.url + path, "https://anywhere.example")
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_a_page_may_read_answers_and_errors(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [{"name": "alice", "sha256": "0" * 64}]})
    answer = requests.post(f"{stand.url}/predict", headers={"Origin": "https://a.example"}, timeout=10)
    assert answer.status_code == 401
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Content-Disposition" in answer.headers["Access-Control-Expose-Headers"]


JSON_BODY = {"prompt": "a boat", "num_frames": 25, "width": 64, "height": 64}


@pytest.mark.parametrize(
    ("origin", "remedy"),
    [
        ("null", 'set cors_origins = ["null"] under [server], or configure [[auth.keys]]'),
        ("https://evil.example", 'such as ["https://app.example.com"], or configure [[auth.keys]]'),
    ],
)
def test_a_refusal_says_what_would_allow_it(shared_stand: Stand, origin: str, remedy: str) -> None:
    answer = requests.post(
        f"{shared_stand.url}/predict", json=JSON_BODY, headers={"Origin": origin}, timeout=10
    )
    assert (answer.status_code, list(answer.json())) == (403, ["error"])
    assert remedy in answer.json()["error"]
    assert "evil" not in answer.text
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_remedy_of_a_refusal_works(make_stand: StandMaker) -> None:
    stand = make_stand(
        server={"cors_origins": ["null", "https://App.example.com:8443", "http://[fd00::1]:80"]}
    )
    for origin in ("null", "https://app.example.com:8443", "http://[fd00::1]:80", "http://localhost:3000"):
        asked = preflight(f"{stand.url}/predict", origin)
        assert (asked.ok, asked.headers["Access-Control-Allow-Origin"]) == (True, origin)
        with stand.working():
            answer = requests.post(
                f"{stand.url}/predict", json=JSON_BODY, headers={"Origin": origin}, timeout=30
            )
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, origin)
        wrong = requests.post(f"{stand.url}/predict", json={}, headers={"Origin": origin}, timeout=30)
        assert (wrong.status_code, wrong.headers["Access-Control-Allow-Origin"]) == (400, origin)
    for origin in (
        "https://app.example.com",
        "http://app.example.com:8443",
        "https://app.example.com:8443.evil.example",
        "https://evil.example",
        "NULL",
        "nullx",
        "",
    ):
        assert preflight(f"{stand.url}/predict", origin).status_code == 403
    for host in ("evil.example", "app.example.com:8443"):
        answer = requests.get(f"{stand.url}/health", headers={"Host": host, "Origin": "null"}, timeout=10)
        assert answer.status_code == 403, "a name that was rebound to this machine stays refused"


def test_with_keys_pages_from_files_may_call(make_stand: StandMaker) -> None:
    stand = make_stand(auth={"keys": [{"name": "alice", "sha256": "0" * 64}]})
    answer = preflight(f"{stand.url}/predict", "null")
    assert (answer.ok, answer.headers["Access-Control-Allow-Origin"]) == (True, "*")


CROSS_SITE = {"Sec-Fetch-Site": "cross-site"}
"""What browsers send with the requests of other sites' pages, also where they send no Origin."""


@pytest.mark.parametrize("path", ["/predict", "/v1/tasks/video", "/v1/videos", "/admin/keys", "/elsewhere"])
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
def test_without_keys_other_sites_may_change_nothing(shared_stand: Stand, path: str, method: str) -> None:
    url = shared_stand.url + path
    answer = requests.request(method, url, json=JSON_BODY, headers=CROSS_SITE, timeout=10)
    assert answer.status_code == 403
    assert "Sec-Fetch-Site: cross-site" in answer.text
    assert not shared_stand.jobs()


@pytest.mark.parametrize(("method", "status"), {"GET": 200, "HEAD": 403, "OPTIONS": 403}.items())
def test_without_keys_other_sites_may_link_here(shared_stand: Stand, method: str, status: int) -> None:
    answer = requests.request(method, f"{shared_stand.url}/docs", headers=CROSS_SITE, timeout=10)
    assert answer.status_code == status


def test_without_keys_pages_of_this_machine_may_call_at_another_name(make_stand: StandMaker) -> None:
    """To a browser, localhost and 127.0.0.1 are two sites."""
    stand = make_stand(server={"cors_origins": ["https://app.example.com"]})
    url = f"{stand.url}/v1/tasks/video"
    for origin, status in {
        "http://localhost:3000": 200,
        "https://app.example.com": 200,
        "https://evil.example": 403,
    }.items():
        headers = {**CROSS_SITE, "Origin": origin}
        assert requests.post(url, json={"prompt": "x"}, headers=headers, timeout=10).status_code == status
    for site in ("same-origin", "same-site", "none"):
        headers = {"Sec-Fetch-Site": site}
        assert requests.post(url, json={"prompt": "x"}, headers=headers, timeout=10).status_code == 200


OPEN = {"lightx2v": {"auth": False}}
ALICE = {"keys": [{"name": "alice", "sha256": "0" * 64}]}


def test_an_open_dialect_on_a_server_with_keys_checks_pages(make_stand: StandMaker) -> None:
    stand = make_stand(
        OPEN,
        auth=ALICE,
        server={"cors_origins": ["https://app.example.com"], "public_url": "https://video.example.com/films"},
    )
    url, own = f"{stand.url}/v1/tasks/video", stand.url
    tries: list[tuple[dict[str, str], int]] = [
        ({}, 200),
        ({"Origin": "http://localhost:3000"}, 200),
        ({"Origin": "https://app.example.com", **CROSS_SITE}, 200),
        ({"Origin": "https://video.example.com", "Host": "video.example.com"}, 200),
        ({"Origin": own}, 200),
        ({"Origin": "http://10.0.0.5:8000", "Host": "10.0.0.5:8000"}, 200),
        ({"Host": "anything.example"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://rebound.example", "Host": "rebound.example"}, 403),
        ({"Origin": "http://10.0.0.5:8000", "Host": "10.0.0.6:8000"}, 403),
        ({"Origin": "https://video.example.com.evil.example"}, 403),
        ({"Origin": "http://" + "a" * 5000}, 403),
        (CROSS_SITE, 403),
    ]
    for headers, status in tries:
        before = len(stand.jobs())
        answer = requests.post(url, json={"prompt": "x"}, headers=headers, timeout=10)
        assert (answer.status_code, len(stand.jobs()) - before) == (status, int(status == 200)), headers
        if status == 403:
            assert "let the dialect require a key (auth = true)" in answer.json()["detail"]
    read = requests.get(f"{stand.url}/v1/tasks/", headers={"Origin": "https://evil.example"}, timeout=10)
    assert read.status_code == 403
    linked = requests.get(f"{stand.url}/v1/tasks/", headers=CROSS_SITE, timeout=10)
    assert linked.status_code == 200


def test_other_dialects_beside_an_open_one_take_any_page_with_a_key(make_stand: StandMaker) -> None:
    digest = hashlib.sha256(b"alice-key").hexdigest()
    stand = make_stand(OPEN, auth={"keys": [{"name": "alice", "sha256": digest}]})
    headers = {"Authorization": "Bearer alice-key", "Origin": "https://anywhere.example", **CROSS_SITE}
    answer = requests.post(f"{stand.url}/v1/videos", json={"prompt": "x"}, headers=headers, timeout=10)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")


def test_rules_follow_the_first_key(stand: Stand) -> None:
    foreign = {"Host": "video.example.com", "Origin": "https://anywhere.example"}
    url = f"{stand.url}/v1/models"
    assert requests.get(url, headers=foreign, timeout=10).status_code == 403
    assert preflight(url, "https://anywhere.example").status_code == 403
    schema = requests.get(f"{stand.url}/openapi.json", timeout=10).json()
    assert "securitySchemes" not in schema["components"]
    secret = requests.post(f"{stand.url}/admin/keys", json={"name": "alice"}, timeout=10).json()["secret"]
    deadline = time.monotonic() + 60
    while requests.get(url, timeout=10).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asked = preflight(url, "https://anywhere.example")
    assert (asked.status_code, asked.headers["Access-Control-Allow-Origin"]) == (204, "*")
    answer = requests.get(url, headers={**foreign, "Authorization": f"Bearer {secret}"}, timeout=10)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    schema = requests.get(f"{stand.url}/openapi.json", timeout=10).json()
    assert schema["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
