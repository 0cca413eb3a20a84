"""URLs are requested byte for byte as given, directly and by redirects."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from framegate.core.errors import InvalidMedia
from framegate.media.network.fetch import UrlFetcher
from framegate.media.network.urls import InvalidUrl, UrlHasCredentials, join_url, parse_url
from tests.support.fetching import fetch_content

BODY = b"a picture, say"


class Recorder:
    """A server on loopback that keeps the request lines, and answers some with a ``Location``."""

    def __init__(self) -> None:
        self.port = 0
        self.targets: list[str] = []
        self.redirects: dict[str, bytes] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, version = head.split(b"\r\n")[0].split(b" ")
        assert (method, version) == (b"GET", b"HTTP/1.1")
        self.targets.append(target.decode("ascii"))
        if location := self.redirects.get(self.targets[-1]):
            writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY))
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async def fetch(self, url: str, redirects: Mapping[str, bytes] | None = None) -> list[str]:
        """Fetch a URL from this server, and return what was requested."""
        self.targets, self.redirects = [], dict(redirects or {})
        assert await fetch_content(UrlFetcher(["127.0.0.1"], max_bytes=1000), url) == BODY
        return self.targets


@asynccontextmanager
async def recording() -> AsyncGenerator[Recorder]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    async with server:
        recorder.port = server.sockets[0].getsockname()[1]
        yield recorder


AS_GIVEN = [
    "/",
    "/a.png",
    "/a%2Fb.png",
    "/a%2fb.png",
    "/a%2Bb+c.png",
    "/%7Euser/~user/%7euser",
    "/a%20b.png?name=c%20d+e",
    "/%41%42C",
    "/a;b=1,2;c/d",
    "/a:b@c!$&'()*+,=",
    "/a|b",
    "/a[1].png?b[]=1",
    "/a/./b/../c",
    "/a/b/..",
    "/a..",
    "/a./",
    "/a//b///c",
    "//a/b",
    "/p?",
    "/p??",
    "/p?a?b/c",
    "/p?a&&b&=c&",
    "/p?a=%2F%2f/&b=%3D%26",
    "/p?X-Amz-Signature=0aF%2B%2F%3D&X-Amz-Credential=k%2F20260101%2Fus-east-1%2Fs3%2Faws4_request",
    "/100%",
    "/%zz?%",
    "/%C3%BC?%FF",
    "/file.jpg?token=a'b",
]
ENCODED = {
    "": "/",
    "?a=b": "/?a=b",
    "?": "/?",
    "/a b.png": "/a%20b.png",
    "/a?b c": "/a?b%20c",
    "/übung/%C3%BC?größe=ß": "/%C3%BCbung/%C3%BC?gr%C3%B6%C3%9Fe=%C3%9F",
    "/图片.png": "/%E5%9B%BE%E7%89%87.png",
    "/😀": "/%F0%9F%98%80",
    '/"<>^`{}': "/%22%3C%3E%5E%60%7B%7D",
    "/a\\b": "/a%5Cb",
    "/a\u00a0b": "/a%C2%A0b",
    "/a%2Fb#c%2Fd": "/a%2Fb",
    "/a?b#c?d": "/a?b",
    "/a?#b": "/a?",
    "#b": "/",
}


async def test_links_are_requested_as_given() -> None:
    async with recording() as web:
        for target in AS_GIVEN:
            assert await web.fetch(f"http://127.0.0.1:{web.port}{target}") == [target]


async def test_only_what_no_request_line_may_hold_is_encoded() -> None:
    async with recording() as web:
        for target, requested in ENCODED.items():
            assert await web.fetch(f"  HTTP://127.0.0.1:{web.port}{target}\n") == [requested]


async def test_redirects_are_followed_as_given() -> None:
    async with recording() as web:
        origin = f"http://127.0.0.1:{web.port}"
        for target in AS_GIVEN:
            forms = [origin + target, origin.removeprefix("http:") + target]
            if not target.startswith("//"):
                forms.append(target)
            for form in forms:
                redirects = {"/from?x": form.encode()}
                assert await web.fetch(f"{origin}/from?x", redirects) == ["/from?x", target], form
        for target, requested in ENCODED.items():
            redirects = {"/from": (origin + target).encode()}
            assert await web.fetch(f"{origin}/from", redirects) == ["/from", requested]
        redirects = {"/from": b"/caf\xe9?\xe9"}
        assert await web.fetch(f"{origin}/from", redirects) == ["/from", "/caf%E9?%E9"], "these bytes"


async def test_the_next_of_several_redirects_begins_where_the_last_led() -> None:
    async with recording() as web:
        redirects = {
            "/a/b%2Fc?d": b"e%2Ff?g=%2B",
            "/a/e%2Ff?g=%2B": b"?h=%2f",
            "/a/e%2Ff?h=%2f": b"../i;j?",
        }
        fetched = await web.fetch(f"http://127.0.0.1:{web.port}/a/b%2Fc?d", redirects)
        assert fetched == [*redirects, "/i;j?"]


@pytest.mark.parametrize(
    ("reference", "target"),
    [
        # RFC 3986, 5.4: against http://a/b/c/d;p?q
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("?y", "/b/c/d;p?y"),
        ("g?y", "/b/c/g?y"),
        ("#s", "/b/c/d;p?q"),
        ("g#s", "/b/c/g"),
        ("g?y#s", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("g;x?y#s", "/b/c/g;x?y"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("../../../../g", "/g"),
        ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("g..", "/b/c/g.."),
        ("./../g", "/b/g"),
        ("./g/.", "/b/c/g/"),
        ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("g#s/../x", "/b/c/g"),
        # not normalised
        ("%2E%2E/g", "/b/c/%2E%2E/g"),
        ("g//h%2f", "/b/c/g//h%2f"),
        ("g?", "/b/c/g?"),
        ("g?%2F?", "/b/c/g?%2F?"),
    ],
)
def test_relative_references(reference: str, target: str) -> None:
    joined = join_url(parse_url("http://a/b/c/d;p?q"), f" {reference} ")
    assert (joined.raw_host, joined.raw_path_qs) == ("a", target)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://Example.COM/", "example.com", 80),
        ("https://example.com./", "example.com.", 443),
        ("http://example.com:8080", "example.com", 8080),
        ("http://example.com:/", "example.com", 80),
        ("http://bücher.example/", "xn--bcher-kva.example", 80),
        ("http://BÜCHER。example/", "xn--bcher-kva.example", 80),
        ("http://例え.テスト/", "xn--r8jz45g.xn--zckzah", 80),
        ("http://[::1]:81/", "::1", 81),
        ("http://my_host/", "my_host", 80),
        ("http://example.com/@127.0.0.1", "example.com", 80),
        ("http://example.com?@127.0.0.1", "example.com", 80),
        ("http://example.com#@127.0.0.1", "example.com", 80),
    ],
)
def test_hosts(text: str, host: str, port: int) -> None:
    url = parse_url(text)
    assert (url.raw_host, url.port) == (host, port)


NO_URLS = [
    "",
    "example.com/a",
    "//example.com/a",
    "ftp://example.com/",
    "https:/example.com/",
    "http:example.com",
    "http:\\\\example.com\\",
    "http:/\\example.com/",
    "http:///example.com/",
    "http://",
    "http://:80/",
    "http://exa mple.com/",
    "http://exa\tmple.com/",
    "http://exa\nmple.com/",
    "http://example.com/a\tb",
    "http://example.com/a\r\nX-Injected: 1",
    "http://example.com/\x00",
    "ht\ntp://example.com/",
    "http://example.com\\.internal/",
    "http://example.com\\/",
    "http://127.0.0.1%2f/",
    "http://%31%32%37.0.0.1/",
    "http://127.0.0.1%00.example.com/",
    "http://[fe80::1%25lo]/",
    "http://[::1/",
    "http://[::1.]/",
    "http://[v1.x]/",
    "http://[::1]a/",
    "http://[::1]:80:90/",
    "http://example.com:80:90/",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://example.com:+80/",
    "http://example.com:-80/",
    "http://example.com:８0/",
    "http://example.com:８０/",
    "http://example.com:80a/",
    "http://example.com:0x50/",
    "http://example.com／evil/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://0/",
    "http://127.0.0.1./",
    "http://1.1.1.1.1/",
    "http://256.0.0.1/",
    "http://" + "a" * 20_000,
    "http://example.com/\ud800",
]


@pytest.mark.parametrize("text", NO_URLS)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_url(text)


@pytest.mark.parametrize(
    "authority",
    ["u:p@h", "u@h", "@h", ":@h", "a@b@h", "h:80@g", "h\\@g", "h%2f@g", "h%40g@f", "exa mple@h", "[::1]@h"],
)
def test_credentials_are_refused(authority: str) -> None:
    for parse in (parse_url, partial(join_url, parse_url("http://example.com/"))):
        with pytest.raises(UrlHasCredentials):
            parse(f"http://{authority}/")
    with pytest.raises(UrlHasCredentials):
        join_url(parse_url("http://example.com/"), f"//{authority}/")


@pytest.mark.parametrize(
    "location", ["ftp://a/", "javascript:alert(1)", "//", "///a", "//a\\b/", "/a\tb", ""]
)
def test_redirects_that_are_refused(location: str) -> None:
    with pytest.raises(InvalidUrl):
        join_url(parse_url("http://example.com/"), location)


async def test_a_long_url_is_refused_with_its_length() -> None:
    with pytest.raises(InvalidMedia, match=r"has 16,385 characters; at most 16,384 are accepted\."):
        await fetch_content(UrlFetcher(max_bytes=1), "http://example.com/".ljust(16_385, "a"))
