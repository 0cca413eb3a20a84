"""Everything that reads a client's text, pattern or not, takes time linear in its length."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec
import pytest

from framegate.core.character_service import slug_of
from framegate.core.errors import FramegateError
from framegate.core.printable import printable, printable_json
from framegate.core.styles import STYLES
from framegate.core.types import MediaKind
from framegate.core.validation import parse_violation
from framegate.media.data_uris import decode_base64
from framegate.media.network.urls import join_url, parse_url, shown_url
from framegate.server.dialects.framegate.sizes import parse_aspect, parse_resolution
from framegate.server.dialects.lightx2v.aspect_ratios import parse_aspect_ratio
from framegate.server.dialects.lightx2v.result_names import ForbiddenPath, download_names, result_name
from framegate.server.dialects.openai.chat.parts import media_input
from framegate.server.dialects.openai.chat.schemas import ChatMessage, ChatRequest
from framegate.server.dialects.openai.chat.tasks import TaskPatterns
from framegate.server.dialects.openai.fields import find_mentions, parse_size
from framegate.server.dialects.sora2api.prompts import find_share_id, read_prompt, take_share_id
from framegate.server.dialects.sora2api.requests import parse_timestamps
from framegate.server.errors.field_errors import body_errors, shortened
from framegate.server.requests.body_limits import plain_bytes
from framegate.server.requests.form_nesting import nest
from framegate.server.requests.lax import relax_json
from framegate.server.requests.media import media_source, read_media_text
from tests.support.timing import LONG, SHORT, is_linear

BASE = parse_url("https://example.com/a/b")
TASKS = TaskPatterns(["a*b*c*d"])


def answer_task(text: str) -> object:
    return TASKS.answer_to([ChatMessage("system", text), ChatMessage("user", f"### Task:{text}")])


def errors_of(text: str) -> object:
    raw = msgspec.json.encode({"model": 5, text: text, "messages": [{"role": text}]})
    return body_errors(raw, ChatRequest, ValueError("x"))


READERS: dict[str, Callable[[str], object]] = {
    "prompt": lambda text: read_prompt(text, STYLES, shots=True),
    "storyboard": lambda text: read_prompt(f"[1s]{text}", STYLES, shots=True),
    "share id": find_share_id,
    "taken share id": lambda text: take_share_id(f"{text} https://{text}/s_{'0' * 32}{text}"),
    "mentions": find_mentions,
    "size": parse_size,
    "timestamps": parse_timestamps,
    "task": answer_task,
    "media": read_media_text,
    "media of a chat": lambda text: media_input(text, "image"),
    "media source": media_source,
    "base64": lambda text: decode_base64(text, max_bytes=2 * LONG),
    "data URI": lambda text: decode_base64(f"data:,{text}", max_bytes=2 * LONG),
    "base64 URI": lambda text: decode_base64(f"data:;base64,{text}", max_bytes=2 * LONG),
    "URL": parse_url,
    "path of a URL": lambda text: parse_url(f"https://example.com/{text[:15_000]}"),
    "redirect": lambda text: join_url(BASE, text[:15_000]),
    "shown URL": shown_url,
    "ratio": parse_aspect_ratio,
    "aspect": parse_aspect,
    "resolution": parse_resolution,
    "result name": lambda text: result_name(text, MediaKind.VIDEO),
    "download": lambda text: download_names(text, "/data"),
    "character": slug_of,
    "form": lambda text: nest([(text, "1"), (f"a[{text}]", "1")]),
    "errors": errors_of,
    "violation": lambda text: parse_violation(f"Invalid enum value '{text}' - at `$.{text}`"),
    "shown value": lambda text: shortened({text: [text]}),
    "plain bytes": lambda text: plain_bytes(text.encode()),
    "lax JSON": lambda text: relax_json(
        msgspec.json.encode({text: text, "stream": text[:4_000]}), ChatRequest
    ),
    "terminal": printable,
    "JSON on a terminal": printable_json,
}
UNITS = (
    *(" ", "a", "0", "é", "\n", "\\", '"', "/", "%", "%41", "=", ".", ",", "@", "a@", "@a ", "[", "]", "[a]"),
    *("{", "}", "{a}", "{anime}", "{anime} ", "[1s]", "[ 1 ", "[.1s]a", "```", "```a ", "```\n"),
    *("http://", "https://a/", "s_0", " s_" + "0" * 32, "../", "a/../", "user:", "a b c d ", "-", "_"),
    *('"a":', "\\u0001", "\x1b", "\u202e", " - at `", "`", "|", "*", "#", "<", "&", "?", ";"),
)


def read(reader: Callable[[str], object], text: str) -> None:
    errors: tuple[type[Exception], ...] = (FramegateError, ValueError, ForbiddenPath)
    with suppress(*errors):
        reader(text)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_a_reader_is_linear(reader: Callable[[str], Any]) -> None:
    for unit in UNITS:
        short, long = (unit * (length // len(unit)) for length in (SHORT, LONG))
        assert is_linear(partial(read, reader, short), partial(read, reader, long)), unit
