"""The table of styles, and an operator's own prompts for them."""

import pytest

from framegate.core.errors import ConfigError, InvalidRequest
from framegate.core.styles import STYLES, find_style, with_prompts


def test_the_ten_of_them() -> None:
    names = "festive kakalaka news selfie handheld golden anime retro nostalgic comic"
    assert " ".join(STYLES) == names
    assert all(style.prompt and style.label for style in STYLES.values())
    assert STYLES["nostalgic"].label == "Vintage"


def test_an_operators_own_prompt() -> None:
    styles = with_prompts({"anime": "in ink"})
    assert list(styles) == list(STYLES)
    assert (styles["anime"].prompt, styles["anime"].label) == ("in ink", "Anime")
    assert styles["news"] == STYLES["news"]
    with pytest.raises(
        ConfigError, match=r"^styles\.noir: unknown style 'noir'; available: festive, .*, comic\.$"
    ):
        with_prompts({"noir": "in the rain"})


def test_a_style_by_its_name() -> None:
    assert find_style(STYLES, None) is None
    assert find_style(STYLES, "news") == STYLES["news"]
    for unknown in ("noir", "", "Anime"):
        with pytest.raises(InvalidRequest, match=r"available: festive, .*, comic\.") as caught:
            find_style(STYLES, unknown)
        assert caught.value.param == "style"
