"""Multipart forms that are built to be misread, and compressed bodies that grow."""

import gzip
import zlib
from collections.abc import Mapping
from functools import cache

from tests.security.case import Case, Maker, Shape

_JSON = {"Content-Type": "application/json"}
_FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def _part(headers: bytes, content: bytes = b"v") -> bytes:
    return b"--x\r\n" + headers + b"\r\n\r\n" + content + b"\r\n"


_NAMED = b'Content-Disposition: form-data; name="%s"'
_END = b"--x--\r\n"

_FORMS = {
    "nothing": b"",
    "only the end": _END,
    "no end": _part(_NAMED % b"prompt"),
    "another boundary": b"--y\r\n" + _NAMED % b"prompt" + b"\r\n\r\nv\r\n--y--\r\n",
    "2,000 parts": b"".join(_part(_NAMED % b"p%d" % n) for n in range(2_000)) + _END,
    "2,000 files": b"".join(_part(_NAMED % b"f" + b'; filename="a"') for _ in range(2_000)) + _END,
    "a part without a name": _part(b"Content-Disposition: form-data") + _END,
    "a part without headers": b"--x\r\n\r\nv\r\n" + _END,
    "a part's header of 100 kB": _part(b"X: " + b"y" * 100_000) + _END,
    "10,000 headers of a part": _part(b"\r\n".join([b"X: y"] * 10_000)) + _END,
    "a name of 7 kB": _part(_NAMED % (b"n" * 7_000)) + _END,
    "quotes without end": _part(b'Content-Disposition: form-data; name="' + b'\\"' * 3_000) + _END,
    "3,000 semicolons": _part(b"Content-Disposition: form-data" + b";" * 3_000) + _END,
    "a text in UTF-7": _part(_NAMED % b"prompt" + b"\r\nContent-Type: text/plain; charset=utf-7") + _END,
    "a text in punycode": _part(
        _NAMED % b"prompt" + b"\r\nContent-Type: text/plain; charset=punycode", b"a" * 200_000
    )
    + _END,
    "a text as base64 that isn't": _part(
        _NAMED % b"prompt" + b"\r\nContent-Transfer-Encoding: base64", b"%%%"
    )
    + _END,
    "a text in an unknown encoding": _part(_NAMED % b"prompt" + b"\r\nContent-Transfer-Encoding: x-uuencode")
    + _END,
    "a thousand times the same field": _part(_NAMED % b"prompt") * 900 + _END,
    "dashes without end": b"--x" * 100_000,
    "line breaks without end": b"\r\n" * 200_000,
}
_TYPES = {
    "no boundary": "multipart/form-data",
    "an empty boundary": "multipart/form-data; boundary=",
    "a boundary of 5 kB": "multipart/form-data; boundary=" + "b" * 5_000,
    "a boundary in quotes without end": 'multipart/form-data; boundary="x',
    "two boundaries": "multipart/form-data; boundary=x; boundary=y",
    "2,000 parameters": "multipart/form-data; boundary=x" + "; a=b" * 2_000,
    "multipart/mixed": "multipart/mixed; boundary=x",
    "a charset of its own": "multipart/form-data; boundary=x; charset=utf-7",
}


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"prompt":"' + b" " * 200_000_000 + b'"}', 1)


def _layers(data: bytes, times: int) -> bytes:
    for _ in range(times):
        data = gzip.compress(data, 9)
    return data


_COMPRESSED: Mapping[str, tuple[str, Maker]] = {
    "a gzip of 200 MB": ("gzip", _bomb),
    "a deflate of 200 MB": ("deflate", lambda: zlib.compress(bytes(200_000_000), 1)),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(_bomb())),
    "gzip in gzip, said once": ("gzip", lambda: gzip.compress(_bomb())),
    "twenty layers": (", ".join(["gzip"] * 20), lambda: _layers(b"{}", 20)),
    "2,000 layers": (", ".join(["gzip"] * 2_000), lambda: b"x"),
    "a gzip that breaks off": ("gzip", lambda: _bomb()[:1_000]),
    "something that is not gzip": ("gzip", lambda: b"{}"),
    "an unknown coding": ("x-unknown", lambda: b"{}"),
    "compress": ("compress", lambda: b"\x1f\x9d\x90"),
    "a gzip followed by another thing": ("gzip", lambda: gzip.compress(b"{}") + b"junk" * 10_000),
    "100,000 empty members": ("gzip", lambda: gzip.compress(b"") * 100_000),
}


CASES = [
    *(
        Case(
            name=f"a form of {what} to {path}",
            path=path,
            data=data,
            headers=_FORM,
            expect=(400, 413, 422),
            shape=shape,
        )
        for path, shape in (
            ("/v1/videos", Shape.OPENAI),
            ("/v1/tasks/image/form", Shape.LIGHTX2V),
        )
        for what, data in _FORMS.items()
        if not (path.startswith("/v1/tasks") and what in ("only the end", "nothing", "a part without a name"))
    ),
    *(
        Case(
            name=f"a form whose type has {what}",
            path="/v1/videos",
            data=_END,
            headers={"Content-Type": value},
            expect=(400, 413, 415, 431),
            shape=Shape.OPENAI,
        )
        for what, value in _TYPES.items()
    ),
    *(
        Case(
            name=f"{what} as the body of {path}",
            path=path,
            data=data,
            headers={**_JSON, "Content-Encoding": encoding},
            expect=(400, 413, 415),
            shape=shape,
        )
        for path, shape in (("/v1/videos", Shape.OPENAI), ("/predict", Shape.WAN22))
        for what, (encoding, data) in _COMPRESSED.items()
    ),
]
