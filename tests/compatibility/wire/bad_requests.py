"""Requests that are refused, of every route: wrong bodies, fields, paths, methods, keys and headers."""

from collections.abc import Iterable
from typing import Any

from tests.compatibility.wire.bodies import BODIES, FORMS, SPECIAL, WRONG
from tests.compatibility.wire.exchanges import Exchange, Step, form, get, post

PATHS = (
    *(path.partition("?")[0] for path in BODIES),
    *FORMS,
    "/v1/tasks",
    "/v1/tasks/",
    "/v1/tasks/none",
    "/v1/tasks/task_none",
    "/v1/tasks/none/status",
    "/v1/tasks/none/result",
    "/v1/tasks/queue/status",
    "/v1/tasks/all/running",
    "/v1/service/status",
    "/v1/service/metadata",
    "/v1/files/none",
    "/v1/files/" + "0" * 32 + "_1.mp4",
    "/v1/files/download/outputs/videos/none.mp4",
    "/v1/videos/none",
    "/v1/videos/none/content",
    "/v1/videos/characters/none",
    "/v1/images/files/none.png",
    "/v1/models",
    "/v1/models/none",
    "/videos/none.mp4",
    "/view",
    "/view?filename=none.mp4",
    "/view?filename=none.mp4&type=input",
    "/view?type=output",
    "/health",
    "/ready",
    "/docs",
    "/docs/",
    "/docs/docs.js",
    "/docs/none",
    "/docs/schema",
    "/docs/schema/openapi.json",
    "/openapi.json",
    "/",
    "/predict-page/page.js",
    "/nothing",
    "/v1",
    "/v1/nothing",
    "/v1/tasks/a/b/c",
    "/v1/videos/a/b/c",
    "/video/none",
    "/v1/tasks/%00",
    "/v1/tasks/" + "x" * 300 + "/status",
    "/v1/videos/" + "x" * 300,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def every_method(paths: Iterable[str] = PATHS) -> list[Step]:
    """Every method of every path, without a body."""
    return [Exchange(method=method, path=path) for path in dict.fromkeys(paths) for method in METHODS]


def bodies() -> list[Step]:
    """Bodies that are wrong as a whole: not JSON, broken forms, other content types."""
    raws = (
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"{}",
        b'{"prompt": "\xff"}',
        b"[" * 5000,
        b'{"prompt": 1, "zz": 2}',
    )
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x")
    json_steps = [Exchange(method="POST", path=path, raw=raw) for path in BODIES for raw in raws] + [
        Exchange(method="POST", path=path, raw=b'{"prompt": "a boat", "seed": "x"}', content_type=kind)
        for path in BODIES
        for kind in kinds
    ]
    part = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'
    broken = (
        b"",
        b"--x\r\n",
        b"--x--\r\n",
        part,
        part + b"a\xff\r\n--x--\r\n",
        b"--x\r\nContent-Disposition: x\r\n\r\na\r\n--x--",
    )
    many = (
        part
        + b"a\r\n"
        + (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 2000)
        + b"--x--\r\n"
    )
    multipart = "multipart/form-data; boundary=x"
    form_steps = (
        [
            Exchange(method="POST", path=path, raw=raw, content_type=multipart)
            for path in FORMS
            for raw in (*broken, many)
        ]
        + [
            Exchange(method="POST", path=path, raw=raw, content_type="application/x-www-form-urlencoded")
            for path in FORMS
            for raw in (b"", b"prompt=", b"prompt=a&prompt=b&seed=x", b"a[b=1", b"a[b]=1&a=2", b"%ff=%ff")
        ]
        + [
            Exchange(method="POST", path=path, raw=b"{}", content_type=kind)
            for path in FORMS
            for kind in ("", "text/plain")
        ]
    )
    return [*json_steps, *form_steps]


def forms() -> list[Step]:
    """Forms with wrong fields and files."""
    image, text = ("image", "a.png", "png"), ("image", "a.png", "text")
    steps: list[Step] = []
    for path in FORMS:
        name = {"/v1/tasks/video/form": "image_file", "/v1/tasks/image/form": "image_file"}.get(path, "")
        name = name or (
            "image" if "images" in path else "input_reference" if path == "/v1/videos" else "video"
        )
        good, wrong, empty = (name, "a", "png"), (name, "a", "text"), (name, "a", "empty")
        uploads = ((), (wrong,), (empty,), (good, good), (("other", "a", "png"), image), (text,))
        bad = {"prompt": "a boat", "seconds": "x", "seed": "y", "name": "n" * 81, "zz": "1"}
        steps += [form(path, *files, **bad) for files in uploads]
        steps.append(form(path, wrong, prompt="a boat", seconds="1", name="n"))
        steps.append(form(path, **{name: "not a file"}, prompt="a boat"))
        steps.append(
            form(path, good, width="1.5", height="", n="99", size="axb", model="none", **{"a[": "1"})
        )
        steps.append(
            form(path, good, prompt="a boat", **{"video[id]": "x", "input_reference[image_url]": "x"})
        )
    return steps


def fields(paths: Iterable[str] = BODIES) -> list[Step]:
    """Every field of every body with every wrong value, left out, and one field too many."""
    steps: list[Step] = []
    for path in paths:
        good = dict(BODIES[path])
        for name in good:
            steps.append(post(path, **{key: value for key, value in good.items() if key != name}, zz=1))
            steps += [
                post(
                    path,
                    **{**good, name: value},
                    **({"zz": 1} if _would_stay_open(path, name, value) else {}),
                )
                for value in WRONG
            ]
    return steps


def _would_stay_open(path: str, name: str, value: Any) -> bool:
    return path == "/v1/images/generations" and name == "stream" and value is True


def special() -> list[Step]:
    """Bodies whose values are of the right type, but wrong in themselves or together."""
    return [post(path, **body) for path, body in SPECIAL]


def authorization() -> list[Step]:
    """Every route without a key, with a wrong one and with a malformed header."""
    values = (
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Basic c2VjcmV0",
        "secret",
        "bearer alice-secret",
        "Bearer é",
    )
    headers: list[dict[str, str]] = [{}, *({"Authorization": value} for value in values)]
    steps: list[Step] = [
        Exchange(
            method="POST" if path in BODIES or path in FORMS else "GET", path=path, key="", headers=header
        )
        for path in dict.fromkeys(PATHS)
        for header in (headers if "openapi" not in path and "schema" not in path else headers[:1])
    ]
    return [
        *steps,
        *(Exchange(method="DELETE", path=path, key="") for path in ("/v1/videos/none", "/v1/tasks/none")),
    ]


def browsers(*origins: str) -> list[Step]:
    """What browsers send: preflights, origins, and a foreign Host."""
    paths = (
        "/predict",
        "/v1/videos",
        "/v1/tasks/none",
        "/v1/chat/completions",
        "/health",
        "/nothing",
        "/videos/none.mp4",
    )
    steps: list[Step] = []
    for path in paths:
        for origin in origins:
            preflight = {
                "Origin": origin,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,content-type,x-other",
            }
            steps.append(Exchange(method="OPTIONS", path=path, headers=preflight, key=""))
            steps.append(
                Exchange(
                    method="OPTIONS", path=path, headers={**preflight, "Access-Control-Request-Method": "PUT"}
                )
            )
            steps.append(get(path, headers={"Origin": origin}))
            steps.append(Exchange(method="POST", path=path, headers={"Origin": origin}, body={}))
        hosts = ("evil.example", "localhost:1", "x.localhost", "[::1]", "127.0.0.2", "a b")
        steps += [get(path, headers={"Host": host}) for host in hosts]
    return steps
