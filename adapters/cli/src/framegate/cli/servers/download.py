"""Downloads that continue where the connection was lost."""

import re
from http import HTTPStatus

from framegate.cli.servers.http import ConnectionFailed, HttpClient, ServerError, repeat
from framegate.cli.servers.protocol import ResultFile

_SILENCE = 60.0
"""Seconds after which a download is taken for dead."""
_RANGE = re.compile(r"bytes (\d+)-\d+/(?:\d+|\*)")


async def download(client: HttpClient, path: str, file: ResultFile) -> None:
    """Write what is at ``path`` to ``file``.

    After a lost connection only the rest is asked for, or everything if it has changed meanwhile.

    Raises:
        ServerError: There is nothing, or the connection is lost again and again.
    """
    validator = ""

    async def attempt() -> None:
        nonlocal validator
        # Compressed, the bytes that have come could not be counted.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if file.written and validator:
            headers |= {"Range": f"bytes={file.written}-", "If-Range": validator}
        async with client.stream(
            "GET", path, headers=headers, follow_redirects=True, timeout=_SILENCE
        ) as response:
            if response.status_code == HTTPStatus.PARTIAL_CONTENT:
                begins = _RANGE.fullmatch(response.headers.get("content-range", ""))
                if begins is None or int(begins[1]) != file.written:
                    raise ServerError("The server sends another part of the result than was asked for.")
            elif file.written:
                file.restart()
            validator = _strong(response.headers.get("etag", ""))
            expected = response.headers.get("content-length")
            before = file.written
            async for part in response.aiter_bytes():
                file.write(part)
            if expected is not None and file.written - before != int(expected):
                raise ConnectionFailed("The connection was lost before the result had come whole.")

    await repeat(attempt)


def _strong(etag: str) -> str:
    """Return an ETag that If-Range may hold: a weak one doesn't promise the same bytes."""
    return "" if etag.startswith("W/") else etag
