"""Captions: what of a prompt is written into the image."""

import pytest
from PIL import ImageFont

from framegate.plugins.preview.lettering import to_drawable_text, wrap_text


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("a cat", "a cat"),
        ("  two\n\nlines\t", "two lines"),
        ("café naïve Łódź", "cafe naive Lodz"),
        ("cat 😀😀😀 dog", "cat … dog"),
        ("a\u202eb\u200bc\x00", "abc"),
        ("一只猫", ""),
        ("…", ""),
        ("Ночь", ""),
        ("", ""),
    ],
)
def test_captions_hold_only_what_the_font_can_draw(prompt: str, line: str) -> None:
    assert to_drawable_text(prompt) == line


@pytest.mark.parametrize(
    "prompt",
    [
        "one two three four five six seven eight nine ten " * 5,
        "x" * 500,
        "WOMEN MOWING WIDE MEADOWS, " + "a still little hill, lit in till it fills all of it, " * 6,
        f"{'W' * 30} {'i' * 400}",
    ],
)
def test_captions_are_wrapped_and_end_in_an_ellipsis(prompt: str) -> None:
    font = ImageFont.load_default(20)
    lines = wrap_text(prompt, 20, width=200)
    assert 1 < len(lines) <= 3
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 200 for line in lines)
