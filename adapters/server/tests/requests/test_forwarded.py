"""Links for clients behind proxies, over a socket."""

import hashlib
import http.client
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import requests

from framegate.core.errors import ConfigError
from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from framegate.server.requests.forwarded import (
    ForwardedHeaders,
    TrustedProxies,
    client_ip,
    client_network,
)
from tests.support.http_stand import CONTENT, Stand, StandMaker, own_dialects, start_stand
from tests.support.result_links import links_of_all

KEY = {"Authorization": "Bearer alice's"}
AUTH = {"keys": [{"name": "alice", "sha256": hashlib.sha256(b"alice's").hexdigest()}]}
PROXIES = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]
Headers: TypeAlias = Mapping[str, str]

NGINX = {
    "Host": "video.example.com",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "video.example.com",
    "X-Forwarded-For": "203.0.113.7",
}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("proxied")
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        stand = start_stand(running, folder, auth=AUTH, server={"trusted_proxies": PROXIES})
        make_result(stand)
        yield stand


def make_result(stand: Stand) -> None:
    """Make the result whose link `link` returns."""
    call = {"prompt": "x", "async_mode": True}
    made = requests.post(f"{stand.url}/v1/images/generate", json=call, headers=KEY, timeout=10)
    assert made.ok, made.text
    stand.run_next()


def link(stand: Stand, headers: Headers | Sequence[tuple[str, str]]) -> str:
    """Return what the link to a result begins with."""

    job = next(job for job in stand.jobs() if job.dialect == "sora2api")
    connection = http.client.HTTPConnection(stand.url.removeprefix("http://"), timeout=10)
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers)
    named_host = any(name.lower() == "host" for name, _ in pairs)
    connection.putrequest("GET", f"/v1/tasks/task_{job.id}", skip_host=named_host)
    for name, value in [*KEY.items(), *pairs]:
        connection.putheader(name, value.encode("latin-1"))
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.status == 200, text
    match = re.search(r'"result_urls":\["([^"]+)/v1/files/', text)
    assert match, text
    return match[1]


def test_links_of_every_dialect_are_the_client_s(stand: Stand) -> None:
    for headers, start in (
        (NGINX, "https://video.example.com"),
        ({**NGINX, "X-Forwarded-Prefix": "/video"}, "https://video.example.com/video"),
        (
            {**KEY, "Forwarded": 'for="[2001:db8::1]:5000";proto=https;host="a.example:8443"'},
            "https://a.example:8443",
        ),
    ):
        links = links_of_all(stand, {**KEY, **headers})
        assert set(links) < set(own_dialects())
        for dialect, made in links.items():
            assert made.startswith(start + "/"), dialect
            # The proxy removes the prefix from the path, and the file is there.
            path = made.removeprefix(start)
            assert requests.get(stand.url + path, headers=headers, timeout=10).status_code == 200, dialect


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        ({}, "http://{own}"),
        ({"X-Forwarded-Proto": "https"}, "https://{own}"),
        ({"X-Forwarded-Proto": "HTTPS"}, "https://{own}"),
        ({"X-Forwarded-Host": "a.example:8443"}, "http://a.example:8443"),
        ({"X-Forwarded-Host": "[2001:db8::1]:8443"}, "http://[2001:db8::1]:8443"),
        ({"X-Forwarded-Prefix": "/a/b/"}, "http://{own}/a/b"),
        ({"X-Forwarded-Prefix": "/"}, "http://{own}"),
        ({"Host": "a.example", "X-Forwarded-Proto": "https"}, "https://a.example"),
        # Lists: the peer is trusted, and so are those at the end of X-Forwarded-For.
        ({"X-Forwarded-Proto": "https, http"}, "http://{own}"),
        (
            {
                "X-Forwarded-For": "203.0.113.7, 10.0.0.2",
                "X-Forwarded-Proto": "https, http",
                "X-Forwarded-Host": "a.example, inner:8000",
                "X-Forwarded-Prefix": "/a, /b",
            },
            "https://a.example/a/b",
        ),
        (
            {
                "X-Forwarded-For": "spoofed, 203.0.113.7, 10.0.0.2",
                "X-Forwarded-Proto": "ftp, https, http",
                "X-Forwarded-Host": "spoofed, a.example, inner",
                "X-Forwarded-Prefix": "/spoofed, /a, /b",
            },
            "https://a.example/a/b",
        ),
        (
            {"X-Forwarded-For": "10.0.0.9, 203.0.113.7", "X-Forwarded-Host": "spoofed, a.example"},
            "http://a.example",
        ),
        ({"X-Forwarded-For": "203.0.113.7, 10.0.0.2", "X-Forwarded-Host": "a.example"}, "http://a.example"),
        (
            {
                "X-Forwarded-For": "1.2.3.4:99, [2001:db8::2]:99, 10.1.1.1:80",
                "X-Forwarded-Host": "z, a, b, c",
            },
            "http://a",
        ),
        # RFC 7239
        ({"Forwarded": "for=203.0.113.7;proto=https;host=a.example"}, "https://a.example"),
        ({"Forwarded": 'For="203.0.113.7:80" ; Proto=HTTPS ; HOST="a.example"'}, "https://a.example"),
        (
            {"Forwarded": 'host=spoofed;proto=https, for=1.2.3.4;host="a.example", for=10.0.0.2;proto=http'},
            "http://a.example",
        ),
        (
            {"Forwarded": 'for=1.2.3.4;host=a.example;proto=https, for="[2001:db8::7]";host=b;proto=http'},
            "https://a.example",
        ),
        ({"Forwarded": "for=10.0.0.2, for=_hidden;host=a.example"}, "http://a.example"),
        ({"Forwarded": "for=203.0.113.7;host=a.example", "X-Forwarded-Prefix": "/v"}, "http://a.example/v"),
        ({"Forwarded": "host=spoofed;proto=https", "X-Forwarded-Host": "a.example"}, "http://a.example"),
        ({"Forwarded": "host=spoofed;proto=https", "X-Forwarded-Proto": "http"}, "http://{own}"),
    ],
)
def test_forwarded_headers(stand: Stand, headers: Headers, start: str) -> None:
    assert link(stand, headers) == start.format(own=stand.url.removeprefix("http://"))


MALFORMED: Mapping[str, Sequence[str]] = {
    "X-Forwarded-Proto": ("", "ftp", "javascript", "https\t//evil", "https;", "http s", "\xe9", "wss", ",,"),
    "X-Forwarded-Host": (
        *("", ",", "a b", "a/b", "user@evil", "evil#", "evil?x", "evil\\x", "a:b", "a:123456", '"a"', "<a>"),
        *("[::1", "::1", "\xe9.example", "%65vil", "a.example/..", "x" * 400, "https://a.example"),
    ),
    "X-Forwarded-Prefix": (
        *("video", "//evil.example", "/a/../b", "/.", "/a b", "/a?b", '/"', "/a\\b", "/" + "x" * 400),
    ),
    "Forwarded": (
        *("", ";;,,==", "host", 'host="a', 'host="a b"', "proto=ftp;host=a/b", '"' * 5000, "a" * 9000),
    ),
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_what_is_malformed_is_ignored(stand: Stand, name: str) -> None:
    for value in MALFORMED[name]:
        assert link(stand, {name: value}) == stand.url, value


def test_headers_that_come_several_times(stand: Stand) -> None:
    headers = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Host", "inner"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Proto", "http"),
    ]
    assert link(stand, headers) == "https://a.example"


def test_long_lists_cost_little(stand: Stand) -> None:
    for name, value in (
        ("X-Forwarded-For", "10.0.0.1," * 6000 + "203.0.113.7"),
        ("Forwarded", "for=10.0.0.1," * 4000),
        ("Forwarded", '"\\' * 15_000),
    ):
        answer = requests.get(f"{stand.url}/health", headers={name: value}, timeout=10)
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 1


@pytest.mark.parametrize("trusted", [[], ["10.0.0.0/8", "::1"]])
def test_others_are_not_believed(make_stand: StandMaker, trusted: list[str]) -> None:
    stand = make_stand(auth=AUTH, server={"trusted_proxies": trusted})
    make_result(stand)
    for headers in (
        {**NGINX, "Host": "other.example", "X-Forwarded-Prefix": "/v"},
        {"Host": "other.example", "Forwarded": "proto=https;host=a.example"},
    ):
        assert link(stand, headers) == "http://other.example"


def test_a_proxy_in_another_container(make_stand: StandMaker) -> None:
    """It connects from an address of the containers' network, not from loopback."""
    stand = make_stand(auth=AUTH, server={"trusted_proxies": ["127.1.0.0/16"]})
    make_result(stand)
    host, _, port = stand.url.removeprefix("http://").partition(":")
    job = stand.jobs()[-1]
    for source, start in (
        ("127.1.0.7", "https://video.example.com"),
        ("127.2.0.7", "http://video.example.com"),
    ):
        connection = http.client.HTTPConnection(host, int(port), timeout=10, source_address=(source, 0))
        connection.request("GET", f"/v1/tasks/task_{job.id}", headers={**NGINX, **KEY})
        [link] = json.loads(connection.getresponse().read())["result_urls"]
        assert link.startswith(f"{start}/v1/files/"), source
        connection.close()


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        (("172.18.0.3", 4711), {b"x-forwarded-for": b"203.0.113.7"}, "203.0.113.7"),
        (("::ffff:172.18.0.3", 4711), {b"x-forwarded-for": b"203.0.113.7"}, "203.0.113.7"),
        (("172.18.0.3", 4711), {b"x-forwarded-for": b"192.0.2.1, 203.0.113.7, 172.18.0.9"}, "203.0.113.7"),
        (("172.18.0.3", 4711), {b"forwarded": b"for=192.0.2.1, for=203.0.113.7;proto=https"}, "203.0.113.7"),
        (("172.18.0.3", 4711), {b"x-forwarded-for": b"_hidden"}, "172.18.0.3"),
        (("172.18.0.3", 4711), {}, "172.18.0.3"),
        (("198.51.100.1", 4711), {b"x-forwarded-for": b"203.0.113.7"}, "198.51.100.1"),
        (("::ffff:198.51.100.1", 4711), {b"forwarded": b"for=203.0.113.7"}, "198.51.100.1"),
        (None, {b"x-forwarded-for": b"203.0.113.7"}, ""),
    ],
)
async def test_the_client_s_address(
    peer: tuple[str, int] | None, headers: Mapping[bytes, bytes], address: str
) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(client_ip(scope))

    scope: Any = {"type": "http", "client": peer, "headers": list(headers.items()), "state": {}}
    nothing: Any = None
    await ForwardedHeaders(app, TrustedProxies(["172.16.0.0/12"]))(scope, nothing, nothing)
    assert seen == [address]


def test_public_url_wins(make_stand: StandMaker) -> None:
    server = {"trusted_proxies": PROXIES, "public_url": "https://fixed.example/films/"}
    stand = make_stand(auth=AUTH, server=server)
    make_result(stand)
    assert link(stand, {**NGINX, "X-Forwarded-Prefix": "/v"}) == "https://fixed.example/films"


def test_without_keys_the_client_s_host_has_to_be_this_machine(make_stand: StandMaker) -> None:
    stand = make_stand(server={"trusted_proxies": PROXIES})

    def status(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.get(f"{stand.url}/v1/tasks/", headers=sent, timeout=10).status_code

    assert status(X_Forwarded_Host="localhost:9000", X_Forwarded_Proto="https") == 200
    assert status(X_Forwarded_Host="evil.example") == 403
    assert status(Forwarded="host=evil.example") == 403
    # A page that has rebound its name to this machine can send any header but Host.
    assert status(Host="evil.example", X_Forwarded_Host="localhost") == 403
    assert status(Host="evil.example", Forwarded="host=localhost") == 403
    assert status(Origin="https://evil.example", X_Forwarded_Host="localhost") == 403


def test_the_docs_work_below_a_prefix(stand: Stand) -> None:
    headers = {**NGINX, "X-Forwarded-Prefix": "/video"}
    document = requests.get(f"{stand.url}/openapi.json", headers=headers, timeout=10).json()
    assert document["servers"] == [{"url": "/video"}]
    assert requests.get(f"{stand.url}/openapi.json", timeout=10).json()["servers"] == [{"url": "/"}]
    slashed = requests.get(f"{stand.url}/docs/", headers=headers, timeout=10, allow_redirects=False)
    assert slashed.headers["Location"] == "../docs"


@pytest.mark.parametrize("name", ["nginx", "*", "10.0.0.0/33", "", "10.0.0.1:80", "https://10.0.0.1"])
def test_wrong_proxies_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"server.trusted_proxies[1]: {name!r} is neither")):
        TrustedProxies(["10.0.0.1", name])


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("10.255.0.1:8080", True),
        ("[2001:db8:1::1]:443", True),
        ("2001:db8:1::1", True),
        ("127.0.0.2", False),
        ("11.0.0.1", False),
        ("unknown", False),
        ("_hidden", False),
        ("", False),
    ],
)
def test_trusted_addresses(address: str, trusted: bool) -> None:
    assert (address in TrustedProxies(PROXIES)) == trusted


@pytest.mark.parametrize(
    ("peer", "headers", "address"),
    [
        ("198.51.100.9", {}, "198.51.100.9"),
        ("::ffff:198.51.100.9", {}, "198.51.100.9"),
        ("2001:db9:1:2:3:4:5:6", {}, "2001:db9:1:2::/64"),
        ("198.51.100.9", {"X-Forwarded-For": "203.0.113.7"}, "198.51.100.9"),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
        ("127.0.0.1", {"X-Forwarded-For": "spoofed, 203.0.113.7:99, 10.0.0.2"}, "203.0.113.7"),
        ("127.0.0.1", {"X-Forwarded-For": "[2001:db9:1:2::5]:443"}, "2001:db9:1:2::/64"),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.3, 10.0.0.2"}, "10.0.0.3"),
        ("127.0.0.1", {"X-Forwarded-For": "unknown"}, "127.0.0.1"),
        ("127.0.0.1", {"Forwarded": 'for=1.2.3.4, for="203.0.113.7:80", for=10.0.0.2'}, "203.0.113.7"),
        ("127.0.0.1", {}, "127.0.0.1"),
    ],
)
async def test_the_address_of_a_client(peer: str, headers: Headers, address: str) -> None:
    found: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        found.append(client_network(scope))

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope: Any = {"type": "http", "client": (peer, 5000), "headers": pairs, "state": {}}
    nobody: Any = None
    await ForwardedHeaders(app, TrustedProxies(PROXIES))(scope, nobody, nobody)
    assert found == [address]


def test_a_client_on_a_unix_socket_has_no_address() -> None:
    scope: Any = {"type": "http", "client": None, "headers": [], "state": {}}
    assert client_network(scope) == ""
