"""What is fuzzed: functions of bytes that may end only as they document.

Each reads the bytes as its part of the server would, and swallows the errors that the server turns into an
answer. Any other exception is a finding.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from msgspec import Struct

from framegate.core.errors import FramegateError
from framegate.media.data_uris import decode_base64
from framegate.media.images.decode import decode_image
from framegate.media.images.masks import normalize_mask
from framegate.media.network.urls import InvalidUrl, join_url, parse_url, shown_url
from framegate.media.video.frames import frame_at
from framegate.media.video.probe import probe_video
from framegate.plugins.comfyui.workflows.capabilities import build_model_spec
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.workflow import parse_workflow
from framegate.server.dialects.framegate.schemas import NewJob
from framegate.server.dialects.lightx2v.fields import ImageFields as LightImage
from framegate.server.dialects.lightx2v.fields import VideoFields as LightVideo
from framegate.server.dialects.openai.chat.parts import parts_of_last, text_of
from framegate.server.dialects.openai.chat.schemas import ChatRequest
from framegate.server.dialects.openai.chat.tasks import TaskPatterns
from framegate.server.dialects.openai.fields import find_mentions, parse_size
from framegate.server.dialects.openai.images.schemas import EditReferences, GenerateFields
from framegate.server.dialects.openai.responses.schemas import CreateResponse
from framegate.server.dialects.openai.videos.schemas import CreateFields, ExtendFields
from framegate.server.dialects.sora2api.prompts import (
    check_length,
    find_share_id,
    read_prompt,
    take_share_id,
)
from framegate.server.dialects.sora2api.requests import parse_timestamps
from framegate.server.dialects.sora2api.schemas import CharacterGenerate, VideoStoryboard
from framegate.server.dialects.wan21_submit.schemas import SubmitRequest
from framegate.server.dialects.wan22_predict.schemas import PredictRequest
from framegate.server.requests.bodies import read_form_values, read_json
from framegate.server.requests.content_encoding import DecodedBodies
from framegate.server.requests.form_nesting import nest
from framegate.server.requests.forms import close_uploads
from framegate.server.requests.forwarded import ForwardedHeaders, TrustedProxies, forwarded_of
from framegate.server.requests.media import read_media_text
from framegate.server.requests.unknown_fields import UNKNOWN_FIELDS_OPT

Feed: TypeAlias = Callable[[bytes], None]

STYLES = ("anime", "retro", "comic")
MODELS: Sequence[type[Struct]] = (
    ChatRequest,
    GenerateFields,
    EditReferences,
    CreateFields,
    ExtendFields,
    CreateResponse,
    VideoStoryboard,
    CharacterGenerate,
    LightVideo,
    LightImage,
    SubmitRequest,
    PredictRequest,
    NewJob,
)
_TASKS = TaskPatterns()


def _text(data: bytes) -> str:
    """Return the bytes as text of a JSON body, which may have lone surrogates."""
    return data.decode("utf-8", "replace")


def image(data: bytes) -> None:
    """Decode an image, and use it as a mask."""
    with suppress(FramegateError):
        decode_image(data)
    with suppress(FramegateError):
        normalize_mask(data, 64, 64)


def video(data: bytes) -> None:
    """Look into a video, and take a frame of it."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:
        file.write(data)
        file.flush()
        with suppress(FramegateError):
            probe_video(Path(file.name))
            frame_at(Path(file.name), 0.5)


def media_text(data: bytes) -> None:
    """Decide what a text names, and decode base64 and data URIs."""
    text = _text(data)
    with suppress(FramegateError):
        read_media_text(text)
    with suppress(FramegateError):
        decode_base64(text, max_bytes=1_000_000)


def url(data: bytes) -> None:
    """Read a URL, one relative to another, and what messages show of it."""
    text = _text(data)
    shown = shown_url(text)
    assert shown.isprintable()
    assert len(shown) <= 200
    with suppress(InvalidUrl):
        parsed = parse_url(text)
        assert parsed.raw_host
        assert parsed.scheme in ("http", "https")
        assert parsed.user is None
    with suppress(InvalidUrl):
        join_url(parse_url("http://example.com/a/b?c"), text)


def prompt(data: bytes) -> None:
    """Read a prompt of sora2api: its style, storyboard, characters and remix id."""
    text = _text(data)
    with suppress(FramegateError):
        check_length(read_prompt(text, STYLES, shots=True).storyboard, 60)
    with suppress(FramegateError):
        found, rest = take_share_id(text)
        assert len(rest) <= len(text)
        assert find_share_id(text) == found
    with suppress(FramegateError):
        parse_timestamps(text)
    find_mentions(text)
    parse_size(text)


def style(data: bytes) -> None:
    """Read a prompt for an image, where brackets mean nothing."""
    with suppress(FramegateError):
        found = read_prompt(_text(data), STYLES, shots=False)
        assert found.style in ("", *STYLES)
        assert not found.storyboard


def json_body(data: bytes) -> None:
    """Read a JSON body as the model that the first byte chooses, and the chat that it holds."""
    model = MODELS[data[0] % len(MODELS)] if data else ChatRequest
    lax = bool(data and data[0] >= 128)

    async def read(request: Request[Any, Any, State]) -> None:
        body = await read_json(request, model, lax=lax)
        if isinstance(body, ChatRequest) and body.messages:
            _TASKS.answer_to(body.messages)
            text_of(body.messages[0])
            parts_of_last(body.messages)

    _asgi(data[1:], {"content-type": "application/json"}, read)


def encoded_body(data: bytes) -> None:
    """Decode a body of the codings that the first line names."""
    names, _, body = data.partition(b"\n")

    async def read(request: Request[Any, Any, State]) -> None:
        assert len(await request.body()) <= 1_000_000

    _asgi(body, {"content-encoding": names.decode("latin-1")}, read)


def multipart(data: bytes) -> None:
    """Parse a multipart form whose boundary is ``x``, and nest its fields."""
    _asgi(data, {"content-type": "multipart/form-data; boundary=x"}, _read_form)


def urlencoded(data: bytes) -> None:
    """Parse a urlencoded form, and nest its fields."""
    _asgi(data, {"content-type": "application/x-www-form-urlencoded"}, _read_form)


async def _read_form(request: Request[Any, Any, State]) -> None:
    nest((await read_form_values(request, CreateFields, ("image", "video"))).multi_items())


def forwarded(data: bytes) -> None:
    """Read the headers of a proxy, one on each line."""
    lines = [line.partition(b":") for line in data.split(b"\n")]
    headers = [(name.strip().lower(), value.strip()) for name, _, value in lines]
    scope: Any = {"type": "http", "headers": headers, "client": ("127.0.0.1", 1), "state": {}}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found = forwarded_of(scope)
        assert found.scheme in ("", "http", "https")
        assert "\r" not in found.host + found.prefix
        assert "\n" not in found.host + found.prefix

    _run(ForwardedHeaders(app, TrustedProxies(["127.0.0.1"]))(scope, _nothing, _nothing))


def workflow(data: bytes) -> None:
    """Parse a workflow of ComfyUI, and derive its model."""
    with suppress(WorkflowError, FramegateError):
        build_model_spec(parse_workflow("fuzzed", data))


async def _nothing(*_: Any) -> Any:
    return {"type": "http.disconnect"}


def _asgi(body: bytes, headers: Mapping[str, str], read: Callable[[Request[Any, Any, State]], Any]) -> None:
    """Run ``read`` on a request as it comes through the server's middleware."""
    pieces = [body[:1000], body[1000:]]

    async def receive() -> Any:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with suppress(FramegateError, HTTPException):
            await read(Request(scope, receive))

    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "state": {},
        "route_handler": SimpleNamespace(
            opt={UNKNOWN_FIELDS_OPT: "ignore"}, resolve_request_max_body_size=lambda: 10_000_000
        ),
    }
    _run(DecodedBodies(close_uploads(app), max_bytes=1_000_000)(scope, receive, _nothing))


_loop = asyncio.new_event_loop()


def _run(work: Any) -> None:
    _loop.run_until_complete(work)


TARGETS: Mapping[str, Feed] = {
    "image": image,
    "video": video,
    "media-text": media_text,
    "url": url,
    "prompt": prompt,
    "style": style,
    "json": json_body,
    "encoded": encoded_body,
    "multipart": multipart,
    "urlencoded": urlencoded,
    "forwarded": forwarded,
    "workflow": workflow,
}
