"""Answers without what differs between any two runs: ids, times, ports, and the pixels of results."""

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import av
import requests
from PIL import Image

# Of these headers only the presence is compared.
_CHANGING_HEADERS = {
    "content-length",
    "date",
    "etag",
    "last-modified",
    "openai-poll-after-ms",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-request-id",
}
_UNORDERED_HEADERS = {"allow", "access-control-allow-headers", "access-control-allow-methods", "vary"}
_CHANGING_KEYS = re.compile(r"_at$|_time$|^created$|^inference$|^timestamp$")
_CHANGING_TEXT = re.compile(
    r"[0-9a-f]{8}-[0-9a-f-]{27}"
    r"|[0-9a-f]{16,}"
    r"|(?<=%40)[a-z0-9_]+\d{3}\b"
    r"|127\.0\.0\.1:\d+"
    r"|\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00:00)?"
    r"|boundary=\w+|(?<=bytes \*/)\d+"
    r"|[A-Za-z0-9+/]{200,}={0,2}"
)
_USERNAME = re.compile(r"@?\b[a-z0-9_]*[a-z_]\d{3}\b")
_PROGRESS = re.compile(r"Waiting for a worker|\*\*Generation Progress\*\*|Still working")
_MEDIA_KEYS = {"video_base64", "b64_json"}
_SMALL_SEED = 10_000
"""Requests give seeds below it; drawn ones are nearly always above."""
_SHORT_BODY = 100
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


@dataclass(frozen=True)
class Answer:
    """What is compared of an answer; ``document`` is set if it is an OpenAPI document."""

    status: int
    headers: Mapping[str, str]
    body: Any
    document: Any = None

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], content: bytes) -> "Answer":
        """Return the answer without what differs between any two runs."""
        lowered = {name.lower(): value for name, value in headers.items()}
        kept = {name: _header(name, value) for name, value in lowered.items()}
        kind = lowered.get("content-type", "")
        body = _body(content, kind, partial=status == 206)
        if _is_object(body) and "openapi" in body:
            return cls(status, kept, "(OpenAPI)", json.loads(content))
        return cls(status, kept, body)


def answer_of(response: requests.Response) -> Answer:
    """Return what is compared of a response."""
    return Answer.of(response.status_code, response.headers, response.content)


def _header(name: str, value: str) -> str:
    if name in _CHANGING_HEADERS:
        return "(set)"
    if name == "content-range" and (span := _RANGE.fullmatch(value)):
        return _range(*(int(number) for number in span.groups()))
    if name in _UNORDERED_HEADERS:
        return ", ".join(sorted(part.strip() for part in value.split(",")))
    return _CHANGING_TEXT.sub("*", value)


def _range(first: int, last: int, size: int) -> str:
    """Return a range without the size of the file, which is another in each version."""
    start = f"{first}" if first < _SHORT_BODY else f"the end - {size - first}"
    return f"bytes {start} to {last if last < size - 1 else 'the end'}"


def _body(content: bytes, kind: str, *, partial: bool) -> Any:
    if not content:
        return ""
    if "json" in kind:
        return _plain(json.loads(content))
    if kind.startswith("text/event-stream"):
        return _frames(content.decode())
    if partial:
        return f"{len(content)} bytes" if len(content) < _SHORT_BODY else "many bytes"
    if kind.startswith(("image/", "video/")) and "svg" not in kind:
        return describe_media(content)
    return _CHANGING_TEXT.sub("*", content.decode(errors="replace"))


def _frames(text: str) -> list[Any]:
    """Return the frames of a stream; progress, whose number of frames depends on time, is one frame."""
    frames: list[Any] = []
    for block in text.split("\n\n"):
        lines: list[Any] = []
        for line in block.splitlines():
            name, separator, value = line.partition(": ")
            data = value.startswith("{") and name == "data"
            lines.append([name, _plain(json.loads(value))] if data else [name, separator, value])
        if not frames or lines != frames[-1]:
            frames.append(lines)
    return frames


def _plain(value: Any, key: str = "") -> Any:
    if _is_object(value):
        names = enumerate(value)
        return {_key(name, number): _plain(value[name], name) for number, name in names}
    if _is_array(value):
        return [_plain(item, key) for item in value]
    if isinstance(value, str):
        if key in _MEDIA_KEYS:
            return _base64_media(value)
        if key == "reasoning_content" and _PROGRESS.search(value):
            return "(progress)"
        return _USERNAME.sub("*", _CHANGING_TEXT.sub("*", value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    drawn = key == "seed" and value >= _SMALL_SEED
    return "*" if drawn or _CHANGING_KEYS.search(key) else value


def _key(name: str, number: int) -> str:
    """Return a key of an object, by its place if it is an id."""
    return f"id {number}" if _CHANGING_TEXT.fullmatch(name) else name


def _base64_media(text: str) -> str:
    try:
        return describe_media(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return text


def describe_media(data: bytes) -> str:
    """Return what a file is, whatever it shows."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f"{image.format} {image.width}x{image.height} {image.mode}"
    except OSError:
        pass
    with av.open(io.BytesIO(data), "r") as container:
        video = container.streams.video[0]
        audio = [stream.codec_context.name for stream in container.streams.audio]
        frames = sum(1 for _ in container.decode(video))
        codec = video.codec_context
        return (
            f"{container.format.name} {codec.name} {codec.pix_fmt} {codec.width}x{codec.height}, "
            f"{frames} frames at {video.average_rate}, audio {audio}"
        )


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)
