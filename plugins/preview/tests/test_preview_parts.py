"""Captions and scenes: what a prompt turns into."""

import subprocess
import sys

import pytest
from PIL import ImageFont

from framegate.plugins.preview.scene import FAMILIES, choose_family
from framegate.plugins.preview.stage import Stage
from framegate.plugins.preview.text import drawable, wrapped


@pytest.mark.parametrize(
    ("prompt", "family"),
    [
        ("a sailing boat at sunset", "sea"),
        ("ducks on a pond", "lake"),
        ("Tokyo street, neon", "city"),
        ("a fox in the forest", "forest"),
        ("an eagle over the mountains", "mountains"),
        ("a rocket on its way to mars", "space"),
        ("falling snowflakes", "snow"),
        ("camels in the Sahara", "desert"),
        ("一只猫在海边", "sea"),
        ("城市的灯光", "city"),
    ],
)
def test_the_first_place_that_a_prompt_names_is_drawn(prompt: str, family: str) -> None:
    assert choose_family(Stage(64, 64, prompt, seed=1, duration=1.0, hour="")) == family


def test_prompts_without_a_place_get_some_scene() -> None:
    drawn = {choose_family(Stage(64, 64, "jazz", seed, 1.0, "")) for seed in range(40)}
    assert drawn <= FAMILIES.keys()
    assert len(drawn) > 3


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
    assert drawable(prompt) == line


def test_captions_are_wrapped_and_end_in_an_ellipsis() -> None:
    font = ImageFont.load_default(20)
    lines = wrapped("one two three four five six seven eight nine ten " * 5, font, width=200, lines=2)
    assert len(lines) == 2
    assert lines[-1].endswith("…")
    assert all(font.getlength(line) <= 200 for line in lines)


def test_a_long_word_is_broken() -> None:
    font = ImageFont.load_default(20)
    lines = wrapped("x" * 500, font, width=150, lines=3)
    assert len(lines) == 3
    assert all(font.getlength(line) <= 150 for line in lines)


def test_listing_plugins_imports_no_heavy_library() -> None:
    program = (
        "import sys, framegate.plugins.preview, framegate.plugins.preview.backend\n"
        "sys.exit(bool({'numpy', 'PIL', 'av'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
