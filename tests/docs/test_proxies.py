"""The proxies' configurations in the documentation: parsed, and their headers sent to a server."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import crossplane  # type: ignore[import-untyped]  # it has no types
import pytest
import requests
from msgspec import Struct

from framegate.core.options import Duration, decode_value
from framegate.core.settings import ServerSettings
from framegate.core.testing import gradient_png
from framegate.core.types import MediaKind
from tests.support.http_stand import CONTENT, Stand, start_stand
from tests.support.result_links import links_of_all

PAGE = Path(__file__).parents[2] / "docs" / "proxies.md"
DEFAULTS = ServerSettings()
KEY = {"Authorization": "Bearer alice's"}
HOST, BELOW = "video.example.com", "example.com"
CLIENT = "203.0.113.7"
SPOOFED = {
    "X-Forwarded-Proto": "ftp",
    "X-Forwarded-Host": "spoofed.example",
    "X-Forwarded-Prefix": "/spoofed",
    "X-Forwarded-For": "127.0.0.1",
    "Forwarded": "proto=http;host=spoofed.example",
}
"""What a client may send to a proxy."""


def blocks(language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


def seconds(text: str) -> float:
    return float(decode_value(Duration, text))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    [trusting] = [
        table
        for block in blocks("toml")
        if "trusted_proxies" in (table := tomllib.loads(block).get("server", {}))
    ]
    digest = hashlib.sha256(b"alice's").hexdigest()
    with ExitStack() as running, pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("proxied")
        patch.setitem(CONTENT, MediaKind.IMAGE, gradient_png(folder / "result.png").read_bytes())
        yield start_stand(
            running, folder, auth={"keys": [{"name": "alice", "sha256": digest}]}, server=trusting
        )


def check_links(stand: Stand, headers: Mapping[str, str], start: str) -> None:
    """Check that links begin with ``start`` if a proxy sends ``headers``, and lead to the results."""
    for dialect, link in links_of_all(stand, {**KEY, **headers}).items():
        assert link.startswith(f"{start}/"), dialect
        assert requests.get(stand.url + link.removeprefix(start), timeout=10).status_code == 200, dialect


class Nginx(Struct):
    """A location of an nginx server, with what it inherits; as nginx does, all of one name or nothing."""

    path: str
    directives: dict[str, list[list[str]]]

    def value(self, name: str) -> str:
        [[value]] = self.directives[name]
        return value


def parse_nginx(text: str, folder: Path) -> tuple[dict[str, Any], list[Nginx]]:
    """Return the upstream's directives, and the locations."""
    path = folder / "nginx.conf"
    path.write_text(f"events {{}}\nhttp {{\n{text}\n}}\n")
    parsed = cast(Any, crossplane.parse(str(path), strict=True, catch_errors=False))
    assert parsed["status"] == "ok", parsed["errors"]
    [_, http] = parsed["config"][0]["parsed"]
    upstream: dict[str, Any] = {}
    locations: list[Nginx] = []
    for block in http["block"]:
        if block["directive"] == "upstream":
            upstream = {line["directive"]: line["args"] for line in block["block"]}
            continue
        outer: dict[str, list[list[str]]] = {}
        for line in block["block"]:
            if line["directive"] != "location":
                outer.setdefault(line["directive"], []).append(line["args"])
        for line in block["block"]:
            if line["directive"] == "location":
                own: dict[str, list[list[str]]] = {}
                for inner in line["block"]:
                    own.setdefault(inner["directive"], []).append(inner["args"])
                locations.append(Nginx(line["args"][0], {**outer, **own}))
    return upstream, locations


def test_nginx(stand: Stand, tmp_path: Path) -> None:
    whole, below = blocks("nginx")
    server, end, _ = whole.rpartition("}")
    upstream, [root, video] = parse_nginx(f"{server}{below}{end}", tmp_path)
    assert seconds(upstream["keepalive_timeout"][0]) < DEFAULTS.keep_alive
    for location, host, prefix in ((root, HOST, ""), (video, BELOW, "/video")):
        assert location.value("client_max_body_size") == f"{DEFAULTS.max_body // 2**20}m"
        assert location.value("proxy_http_version") == "1.1"
        assert location.value("proxy_buffering") == location.value("proxy_request_buffering") == "off"
        assert seconds(location.value("proxy_read_timeout")) >= 600
        # With a path, proxy_pass replaces the location's.
        assert location.value("proxy_pass") == f"http://framegate{'/' if prefix else ''}"
        assert location.path == f"{prefix}/"
        variables = {
            "$http_host": host,
            "$scheme": "https",
            "$proxy_add_x_forwarded_for": f"{SPOOFED['X-Forwarded-For']}, {CLIENT}",
        }
        sent = dict(SPOOFED)
        for name, value in location.directives["proxy_set_header"]:
            sent[name] = variables.get(value, value)
        assert sent.pop("Connection") == ""
        check_links(stand, {name: value for name, value in sent.items() if value}, f"https://{host}{prefix}")


Caddy = list[tuple[list[str], "list[Any]"]]


def parse_caddy(text: str) -> Caddy:
    """Return the directives of a Caddyfile, each with those in its block."""
    stack: list[Caddy] = [[]]
    for line in text.splitlines():
        words = line.split()
        if words == ["}"]:
            stack.pop()
        elif words:
            block: Caddy = []
            stack[-1].append((words[:-1] if words[-1] == "{" else words, block))
            if words[-1] == "{":
                stack.append(block)
    [parsed] = stack
    return parsed


def find(block: Caddy, *path: str) -> Caddy:
    """Return the block of the directive at ``path``."""
    for name in path:
        [block] = [inner for words, inner in block if words[0] == name]
    return block


def arguments(block: Caddy, name: str) -> list[list[str]]:
    return [words[1:] for words, _ in block if words[0] == name]


def test_caddy(stand: Stand) -> None:
    for text, host, prefix in zip(blocks("caddyfile"), (HOST, BELOW), ("", "/video"), strict=True):
        site = find(parse_caddy(text), host)
        if prefix:
            assert arguments(site, "handle_path") == [[f"{prefix}/*"]]
            assert arguments(site, "redir") == [[prefix, f"{prefix}/"]]
            site = find(site, "handle_path")
        assert arguments(find(site, "request_body"), "max_size") == [[f"{DEFAULTS.max_body // 2**20}MiB"]]
        proxy = find(site, "reverse_proxy")
        assert arguments(site, "reverse_proxy") == [["127.0.0.1:8000"]]
        assert arguments(proxy, "flush_interval") == [["-1"]]
        [[keepalive]] = arguments(find(proxy, "transport"), "keepalive")
        assert seconds(keepalive) < DEFAULTS.keep_alive
        for name in ("response_header_timeout", "read_timeout"):
            [[timeout]] = arguments(find(proxy, "transport"), name)
            assert seconds(timeout) >= 600
        sent = {**SPOOFED, "Host": host}
        sent |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-For": CLIENT}
        for name, *value in arguments(proxy, "header_up"):
            if name.startswith("-"):
                del sent[name[1:]]
            else:
                [sent[name]] = value
        check_links(stand, sent, f"https://{host}{prefix}")


def test_traefik(stand: Stand) -> None:
    tables = [tomllib.loads(block) for block in blocks("toml")]
    [static] = [table for table in tables if "entryPoints" in table]
    [dynamic] = [table["http"] for table in tables if "http" in table]
    timeouts = static["entryPoints"]["websecure"]["transport"]["respondingTimeouts"]
    assert seconds(timeouts["readTimeout"]) >= 600
    assert seconds(timeouts["writeTimeout"]) == 0  # none
    service = dynamic["services"]["framegate"]["loadBalancer"]
    assert service["passHostHeader"]
    assert service["servers"] == [{"url": "http://127.0.0.1:8000"}]
    assert service["responseForwarding"]["flushInterval"].startswith("-")
    forwarding = dynamic["serversTransports"][service["serversTransport"]]["forwardingTimeouts"]
    assert seconds(forwarding["idleConnTimeout"]) < DEFAULTS.keep_alive
    assert seconds(forwarding["responseHeaderTimeout"]) >= 600
    starts: dict[str, str] = {}
    for name, router in dynamic["routers"].items():
        assert router["service"] in dynamic["services"]
        assert set(router["entryPoints"]) <= set(static["entryPoints"])
        [host] = re.findall(r"Host\(`(.+?)`\)", router["rule"])
        sent = {**SPOOFED, "Host": host}
        sent |= {"X-Forwarded-Proto": "https", "X-Forwarded-Host": host, "X-Forwarded-For": CLIENT}
        starts[name] = f"https://{host}{''.join(_stripped(dynamic['middlewares'], router, sent))}"
        check_links(stand, sent, starts[name])
    assert list(starts.values()) == [f"https://{HOST}", f"https://{BELOW}/video"]


def _stripped(
    middlewares: Mapping[str, Any], router: Mapping[str, Any], sent: dict[str, str]
) -> Sequence[str]:
    """Change the headers as the middlewares of ``router`` do, and return the prefix that they strip."""
    stripped: list[str] = []
    for name in router["middlewares"]:
        for kind, options in middlewares[name].items():
            if kind == "stripPrefix":
                stripped += options["prefixes"]
                assert f"PathPrefix(`{stripped[0]}`)" in router["rule"]
                sent["X-Forwarded-Prefix"] = stripped[0]
            else:
                for header, value in options["customRequestHeaders"].items():
                    assert value == ""
                    sent.pop(header, None)
    return stripped
