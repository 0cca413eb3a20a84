"""Base64 and data URIs, as clients write them and as attackers do."""

import tracemalloc
from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis.strategies import DataObject, binary, booleans, data, integers, sampled_from, text

from framegate.core.errors import InvalidMedia
from framegate.media.data_uris import MAX_PERCENT_ENCODED, decode_base64

PAYLOAD = bytes(range(256))
LIMIT = 2**20


@given(content=binary(min_size=1), urlsafe=booleans(), padded=booleans(), draw=data())
def test_any_alphabet_padding_and_white_space(
    content: bytes, urlsafe: bool, padded: bool, draw: DataObject
) -> None:
    encoded = (urlsafe_b64encode if urlsafe else b64encode)(content).decode()
    if not padded:
        encoded = encoded.rstrip("=")
    for _ in range(draw.draw(integers(0, 4))):
        place = draw.draw(integers(0, len(encoded)))
        encoded = encoded[:place] + draw.draw(sampled_from(["\n", "\r\n", " ", "\t"])) + encoded[place:]
    assert decode_base64(encoded, max_bytes=LIMIT) == content
    assert decode_base64(f"data:image/png;base64,{encoded}", max_bytes=LIMIT) == content


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,{standard}",
        "DATA:image/PNG;BASE64,{standard}",
        "data:;base64,{standard}",
        "data:image/png;charset=utf-8;base64,{standard}",
        "  data:image/png;base64, {standard}\n",
        "data:image/png;base64,{urlsafe}",
        "data:image/png;base64,{quoted}",
        "data:application/octet-stream,{percent}",
        "data:,{percent}",
    ],
)
def test_data_uris(uri: str) -> None:
    standard = b64encode(PAYLOAD).decode()
    forms = {
        "standard": standard,
        "urlsafe": urlsafe_b64encode(PAYLOAD).decode(),
        "quoted": quote(standard, safe=""),
        "percent": quote(PAYLOAD),
    }
    assert decode_base64(uri.format(**forms), max_bytes=LIMIT) == PAYLOAD


@pytest.mark.parametrize("text", ["", "  \n", "=", "==", "data:,", "data:image/png;base64,"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidMedia):
        decode_base64(text, max_bytes=LIMIT)


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "AAAAA",
        "AA===",
        "A=AA",
        "not base64!",
        "https://a.example/b.png",
        "data:image/png;base64",
        "ÄÖÜ",
        "\ud800",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidMedia, match="neither base64 nor a data URI"):
        decode_base64(text, max_bytes=LIMIT)


@given(text())
@example("data:image/png;base64,\ud800")
@example("data:%zz,%")
def test_garbage_raises_nothing_else(garbage: str) -> None:
    for given_text in (garbage, f"data:{garbage}", f"data:;base64,{garbage}"):
        with suppress(InvalidMedia):
            assert decode_base64(given_text, max_bytes=LIMIT)


@pytest.mark.parametrize("escape", ["%41", "%4a", "%25", "%"])
def test_escapes_that_base64_does_not_need_are_refused(escape: str) -> None:
    with pytest.raises(InvalidMedia, match="neither base64 nor a data URI"):
        decode_base64(f"data:image/png;base64,AAA{escape}", max_bytes=LIMIT)


@pytest.mark.parametrize(
    ("size", "accepted"), [(LIMIT - 1, True), (LIMIT, True), (LIMIT + 1, False), (8 * LIMIT, False)]
)
@pytest.mark.parametrize("start", ["", "data:image/png;base64,"])
def test_the_limit_is_that_of_the_file(size: int, accepted: bool, start: str) -> None:
    text = start + b64encode(bytes(size)).decode()
    if accepted:
        assert len(decode_base64(text, max_bytes=LIMIT)) == size
        return
    with pytest.raises(InvalidMedia, match="too large; at most 1 MiB"):
        decode_base64(text, max_bytes=LIMIT)


@pytest.mark.parametrize(
    "text",
    [
        "data:," + "%41" * (8 * LIMIT),
        "data:image/png," + "%" * (2 * LIMIT),
        "data:," + "A" * (MAX_PERCENT_ENCODED + 1),
        "data:image/png;base64," + "%41" * (LIMIT // 2),
        "data:image/png;base64," + "%" * (2 * LIMIT),
        "data:" + ";" * (2 * LIMIT),
        "data:" + "," * (2 * LIMIT),
        " " * (2 * LIMIT),
        "=" * (2 * LIMIT),
        "A" + "=" * (2 * LIMIT),
        "-" * (3 * LIMIT),
        "A" * (16 * LIMIT),
    ],
)
def test_hostile_texts_cost_little_memory(text: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InvalidMedia):
            decode_base64(text, max_bytes=LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * LIMIT


def test_decoding_costs_three_times_the_file_at_most() -> None:
    text = f"data:image/png;base64,{b64encode(bytes(8 * LIMIT)).decode()}"
    tracemalloc.start()
    try:
        decode_base64(text, max_bytes=8 * LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 8 * LIMIT
