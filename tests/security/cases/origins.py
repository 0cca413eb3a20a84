"""Requests that other sites' pages make, or that reach a server without keys by another name."""

from tests.security.case import Case, Shape

FOREIGN_ORIGINS = (
    "https://evil.example",
    "http://localhost.evil.example",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1@evil.example",
    "http://evil.example#localhost",
    "https://evil.example:443",
    "http://192.168.1.10",
    "http://0.0.0.0",
    "http://[::2]",
    "http://2130706433",
    "file://",
    "null",
    "chrome-extension://abcdef",
    "http://localhost evil.example",
    "localhost",
    "http://",
    "",
)
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:80",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "127.1",
    "2130706433",
    "0x7f.0.0.1",
    "192.168.1.10:8000",
    "0.0.0.0",
    "[::2]",
    "localhost@evil.example",
    "127.0.0.1:80:80",
    "rebinding.test",
)
_ROUTES = (
    ("GET", "/v1/videos", None, Shape.OPENAI),
    ("POST", "/v1/videos", {"prompt": "x"}, Shape.OPENAI),
    ("DELETE", "/v1/tasks/all/running", None, Shape.LIGHTX2V),
    ("POST", "/video/submit", {"prompt": "A cat on a sofa"}, Shape.WAN21),
    ("POST", "/predict", {"prompt": "x"}, Shape.WAN22),
)

CASES = [
    *(
        Case(
            name=f"{method} {path} from a page of {origin!r}",
            method=method,
            path=path,
            json=body,
            headers={"Origin": origin},
            expect=(403,),
            shape=shape,
            key="",
        )
        for index, origin in enumerate(FOREIGN_ORIGINS)
        for method, path, body, shape in (_ROUTES[index % 5], _ROUTES[(index + 1) % 5])
    ),
    *(
        Case(
            name=f"{method} {path} by the name {host!r}",
            method=method,
            path=path,
            json=body,
            headers={"Host": host},
            expect=(403, 400),
            shape=Shape.ANY,
            key="",
        )
        for index, host in enumerate(FOREIGN_HOSTS)
        for method, path, body, _ in (_ROUTES[index % 5], _ROUTES[(index + 2) % 5])
    ),
    *(
        # A form of another site is sent without an Origin by some browsers, but not without this.
        Case(
            name=f"{method} {path} with Sec-Fetch-Site: cross-site",
            method=method,
            path=path,
            json=body,
            headers={"Sec-Fetch-Site": "cross-site"},
            expect=(403,),
            shape=shape,
            key="",
        )
        for method, path, body, shape in _ROUTES
        if method != "GET"
    ),
    *(
        Case(
            name=f"a simple form of another site to {path}",
            path=path,
            data={"prompt": "x"},
            headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
            expect=(403,),
            shape=shape,
            key="",
        )
        for path, shape in (("/v1/videos", Shape.OPENAI), ("/v1/tasks/image/form", Shape.LIGHTX2V))
    ),
    *(
        Case(
            name=f"a preflight from {origin!r}",
            method="OPTIONS",
            path="/v1/videos",
            headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
            expect=(400, 403),
            shape=Shape.ANY,
            key="",
        )
        for origin in FOREIGN_ORIGINS[:6]
    ),
]
