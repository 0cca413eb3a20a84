"""Numbers, nesting, control characters and sizes that a body's reader may not expect."""

from collections.abc import Mapping
from typing import Any

from tests.security.case import Case, Shape

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PROMPT = "A cat on a red sofa"

_BODIES: Mapping[str, tuple[Shape, Mapping[str, Any]]] = {
    "/v1/videos": (Shape.OPENAI, {"prompt": PROMPT}),
    "/v1/images/generations": (Shape.OPENAI, {"prompt": PROMPT}),
    "/v1/responses": (Shape.OPENAI, {"input": PROMPT}),
    "/v1/chat/completions": (
        Shape.OPENAI,
        {"model": "small", "messages": [{"role": "user", "content": PROMPT}]},
    ),
    "/v1/videos/generate": (Shape.OPENAI, {"prompt": PROMPT, "model": "small"}),
    "/v1/tasks/video": (Shape.LIGHTX2V, {"prompt": PROMPT}),
    "/v1/tasks/image": (Shape.LIGHTX2V, {"prompt": PROMPT}),
    "/video/submit": (Shape.WAN21, {"prompt": PROMPT}),
    "/predict": (Shape.WAN22, {"prompt": PROMPT}),
}
_WRONG_BODIES: Mapping[str, bytes] = {
    "nothing": b"",
    "a quote": b'"',
    "a list": b"[]",
    "null": b"null",
    "a number of 100,000 digits": b'{"prompt":' + b"9" * 100_000 + b"}",
    "an exponent of a million": b'{"prompt":1e1000000}',
    "lists 100,000 deep": b'{"prompt":' + b"[" * 100_000,
    "lists 10,000 deep, closed": b'{"prompt":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects 10,000 deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "UTF-16": '{"prompt":"x"}'.encode("utf-16"),
    "a lone surrogate": b'{"prompt":"\\ud800"}',
    "bytes that are not UTF-8": b'{"prompt":"\xff\xfe"}',
    "NaN": b'{"prompt":NaN}',
    "a comment": b'{"prompt":"x"/*"*/}',
    "two of a kind": b'{"prompt":1,"prompt":[]}',
    "30,000 unknown fields": b"{" + b",".join(b'"f%d":%d' % (n, n) for n in range(30_000)) + b"}",
}
_NUMBERS: Mapping[str, Any] = {
    "2**63": 2**63,
    "-2**63": -(2**63),
    "2**64": 2**64,
    "10**100": 10**100,
    "1e308": 1e308,
    "1e-320": 1e-320,
    "minus one": -1,
    "a text of digits": "9" * 5_000,
    "true": True,
    "a list": [[[[1]]]],
    "an object": {"a": {"b": {}}},
}
_NUMBER_FIELDS: Mapping[str, tuple[str, ...]] = {
    "/v1/videos": ("seed", "num_frames", "guidance_scale"),
    "/v1/images/generations": ("n", "seed"),
    "/v1/tasks/video": ("video_duration",),
    "/video/submit": ("num_frames", "seed"),
    "/predict": ("width", "num_frames"),
    "/v1/videos/generate": ("seed",),
}
_CONTROLS = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "\x00",
    "\x08\x08\x08",
    "\r\nforged: line",
    "\u202eevil",
    "\u2028\u2029",
    "\ufeff",
    "\ud83d\ude00" * 10,
)

_TOO_LONG = "x" * 1_100_000


def _replace_prompt(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    if "messages" in body:
        return {**body, "messages": [{"role": "user", "content": text}]}
    return {**body, ("input" if "input" in body else "prompt"): text}


def _form_shape(path: str) -> Shape:
    return Shape.LIGHTX2V if path.startswith("/v1/tasks") else Shape.OPENAI


CASES = [
    *(
        Case(
            name=f"{what} to {path}",
            path=path,
            data=body,
            headers=JSON,
            expect=(400, 413, 422),
            shape=shape,
        )
        for path, (shape, _) in _BODIES.items()
        for what, body in _WRONG_BODIES.items()
    ),
    *(
        Case(
            name=f"{field} is {what}, to {path}",
            path=path,
            json={**_BODIES[path][1], field: number},
            expect=(400, 422),
            shape=_BODIES[path][0],
        )
        for path, fields in _NUMBER_FIELDS.items()
        for field in fields
        for what, number in _NUMBERS.items()
        if (field, what) != ("guidance_scale", "1e-320")
    ),
    *(
        Case(
            name=f"control characters in the model's name: {text!r}, to {path}",
            path=path,
            json={**_BODIES[path][1], "model": text},
            expect=(400, 404, 422),
            shape=_BODIES[path][0],
        )
        for path in ("/v1/videos", "/v1/chat/completions", "/v1/videos/generate", "/video/submit")
        for text in _CONTROLS
    ),
    *(
        Case(
            name=f"a prompt of 1.1 MB to {path}",
            path=path,
            json=_replace_prompt(body, _TOO_LONG),
            expect=(400, 413, 422),
            shape=shape,
        )
        for path, (shape, body) in _BODIES.items()
    ),
    *(
        Case(
            name=f"{what} as a form to {path}",
            path=path,
            data=data,
            headers=FORM,
            expect=(400, 413, 415, 422),
            shape=_form_shape(path),
        )
        for path in ("/v1/videos", "/v1/images/edits", "/v1/videos/characters", "/v1/tasks/image/form")
        for what, data in {
            "20,000 fields": b"&".join(b"k%d=1" % n for n in range(20_000)),
            "20,000 ampersands": b"&" * 20_000,
            "brackets 5,000 deep": b"prompt" + b"[a]" * 5_000 + b"=1",
            "a name of 500 kB": b"p" * 500_000 + b"=1",
            "percent signs": b"prompt=" + b"%" * 150_000,
            "bytes that are not UTF-8": b"prompt=%ff%fe",
            "9 MB": b"prompt=" + b"x" * 9_000_000,
        }.items()
    ),
]
