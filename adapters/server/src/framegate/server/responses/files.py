"""Send results as downloads: with Range (single, suffix, several), HEAD, ETag, If-None-Match, If-Range."""

import math
import re
from pathlib import Path
from typing import Any, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from starlette.responses import RedirectResponse, Response

from framegate.core import audit
from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import ArtifactGone
from framegate.core.results import ResultAccess
from framegate.core.types import Artifact
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.link_signing import SignedLink
from framegate.server.responses.paced_files import PacedFile

FILES_OPT = "file_types"
_SPAN = r"[ \t]*(?:\d{1,100}-\d{0,100}|-\d{1,100})[ \t]*"
_RANGES = re.compile(rf"bytes={_SPAN}(?:,{_SPAN})*", re.ASCII | re.IGNORECASE)
_BOUNDS = re.compile(r"(?<!\d)(\d{1,100})-(\d{1,100})", re.ASCII)
_MOST_SPANS = 100
"""Each becomes a part of the answer, so a request with more gets the whole file, which RFC 9110 allows."""
_UNSAFE = re.compile(r"[^\w.() -]")
_HEADERS = {"Cache-Control": "private"}


def sends_files(*content_types: str) -> dict[str, Any]:
    """Return the ``opt`` of a handler that answers with files of these types, for the API docs."""
    return {FILES_OPT: content_types}


async def send_artifact(
    request: HTTPRequest,
    results: ResultAccess,
    artifact: Artifact,
    *,
    name: str,
    inline: bool = False,
    link: SignedLink | None = None,
) -> ASGIApp:
    """Return the response to a GET or HEAD of a result; browsers save it as ``name``.

    ``link`` is the signed one by which the request came; a link to the bucket expires with it.

    Raises:
        ArtifactGone: It was removed after its retention.
    """
    seconds = math.inf if link is None else math.ceil(link.seconds_left)
    if url := await results.link(artifact, method=request.method, seconds=seconds):
        redirect = cast(ASGIApp, RedirectResponse(url, headers={"Cache-Control": "no-store"}))
        return _recorded(redirect, request, name, link, delivery="redirect")
    path = await results.path(artifact)
    return await send_file(request, path, artifact.content_type, name=name, inline=inline, link=link)


async def send_file(
    request: HTTPRequest,
    path: Path,
    content_type: str,
    *,
    name: str,
    inline: bool = False,
    link: SignedLink | None = None,
) -> ASGIApp:
    """Return the response to a GET or HEAD of a file; browsers save it as ``name``.

    Raises:
        ArtifactGone: It was removed after its retention.
    """
    try:
        stat = await FILE_THREADS.run(path.stat)
    except FileNotFoundError:
        raise ArtifactGone("The result was removed: its retention time is over.") from None
    response = PacedFile(
        path,
        media_type=content_type,
        filename=safe_name(name),
        content_disposition_type="inline" if inline else "attachment",
        stat_result=stat,
        headers=_HEADERS,
    )
    etag = response.headers["etag"]
    if _none_match(request.headers.get("if-none-match"), etag):
        kept = {name: response.headers[name] for name in ("etag", "last-modified", "cache-control")}
        return cast(ASGIApp, Response(status_code=304, headers=kept))
    if not _is_range(request.headers.get("range", "")):
        # RFC 9110, 14.2: the header is to be ignored, where Starlette refuses the request.
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"range"]
    # One protocol, typed by two frameworks.
    return _recorded(cast(ASGIApp, response), request, name, link, delivery="file")


def _recorded(
    response: ASGIApp, request: HTTPRequest, name: str, link: SignedLink | None, *, delivery: str
) -> ASGIApp:
    """Return the response, which is recorded in the audit log once it has been sent or given up."""
    if request.method == "HEAD":
        return response
    signed = {} if link is None else {"link_expires": link.expires}

    async def respond(scope: Scope, receive: Receive, send: Send) -> None:
        status = sent = 0

        async def counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                sent += len(message["body"])
            await send(message)

        try:
            await response(scope, receive, counted)
        finally:
            if 200 <= status < 400:
                audit.record(
                    "result_downloaded",
                    file=safe_name(name),
                    delivery=delivery,
                    status=status,
                    bytes=sent,
                    **signed,
                )

    return respond


def safe_name(name: str) -> str:
    """Return the last part of ``name`` with only characters that are safe in headers and file systems."""
    return _UNSAFE.sub("_", name.rpartition("/")[2]).strip(". ")[-150:] or "result"


def _is_range(header: str) -> bool:
    """Return whether ``header`` is a well-formed range of bytes, by RFC 9110, 14.1.2."""
    if header.count(",") >= _MOST_SPANS or not _RANGES.fullmatch(header):
        return False
    return all(int(first) <= int(last) for first, last in _BOUNDS.findall(header))


def _none_match(header: str | None, etag: str) -> bool:
    if header is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags
