from base64 import b64encode, urlsafe_b64encode
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis.strategies import DataObject, binary, booleans, data, integers, sampled_from, text

from framegate.core.errors import InvalidMedia
from framegate.media.images.decode import decode_base64

PAYLOAD = bytes(range(256))


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
    assert decode_base64(encoded) == content
    assert decode_base64(f"data:image/png;base64,{encoded}") == content


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
    assert decode_base64(uri.format(**forms)) == PAYLOAD


@pytest.mark.parametrize("text", ["", "  \n", "=", "==", "data:,", "data:image/png;base64,"])
def test_nothing_is_refused(text: str) -> None:
    with pytest.raises(InvalidMedia):
        decode_base64(text)


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
        decode_base64(text)


@given(text())
@example("data:image/png;base64,\ud800")
@example("data:%zz,%")
def test_garbage_raises_nothing_else(garbage: str) -> None:
    for given_text in (garbage, f"data:{garbage}", f"data:;base64,{garbage}"):
        with suppress(InvalidMedia):
            assert decode_base64(given_text)
