"""What sora2api reads from any prompt."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.core.styles import STYLES
from framegate.core.types import StoryboardShot
from framegate.server.dialects.sora2api.prompts import (
    find_share_id,
    parse_storyboard,
    read_prompt,
    take_share_id,
    take_style,
)

SHARE = "s_0123456789abcdef0123456789abcdef"
words = st.text(st.characters(codec="utf-8", exclude_characters="[]{}`"), min_size=1).filter(str.strip)
seconds = st.floats(0.01, 1e6).map(lambda value: round(value, 3))
anything = st.text(st.one_of(st.sampled_from("[]{}`s5.0@ \n"), st.characters(codec="utf-8")), max_size=60)


@given(words, st.lists(st.tuples(seconds, words), min_size=1, max_size=5), st.booleans())
def test_storyboards_are_read_as_written(common: str, shots: list[tuple[float, str]], fenced: bool) -> None:
    text = common + "".join(f"[{length}s]{what}\n" for length, what in shots)
    prompt = read_prompt(f"```\n{text}```" if fenced else text, STYLES, shots=True)
    assert prompt.storyboard == tuple(
        StoryboardShot(f"{common.strip()}\n{what.strip()}", length) for length, what in shots
    )


@given(anything)
def test_any_text_can_be_read(text: str) -> None:
    prompt = read_prompt(text, STYLES, shots=True)
    assert not prompt.style or prompt.style in STYLES
    assert all(shot.duration >= 0 for shot in prompt.storyboard)
    share, rest = take_share_id(text)
    assert share or rest == text


@given(anything.filter(lambda text: "s]" not in text.lower()))
def test_what_has_no_shots_stays_as_it_is(text: str) -> None:
    style, _ = take_style(text, STYLES)
    prompt = read_prompt(text, STYLES, shots=True)
    assert prompt.storyboard == ()
    if not style:
        assert prompt.text == text


@pytest.mark.parametrize(
    ("text", "shots"),
    [
        ("[5]a [5.0s]b", [("[5]a\nb", 5.0)]),
        ("[s]a [.5s]b", [("[s]a\nb", 0.5)]),
        ("[ 5 S ]a [5.s]b", [("a", 5.0), ("b", 5.0)]),
        ("[5s]a [b [c] d] [1s]{x} [y", [("a [b [c] d]", 5.0), ("{x} [y", 1.0)]),
        ("[[5s]]a", [("[\n]a", 5.0)]),
        ("[-5s]a[1e3s]b[5s]c", [("[-5s]a[1e3s]b\nc", 5.0)]),
        ("[٥s]a [5s]b", [("[٥s]a\nb", 5.0)]),
        ("[5s]角色 🪭 [5s]éa", [("角色 🪭", 5.0), ("éa", 5.0)]),
        (f"[{'9' * 400}s]a", [("a", float("inf"))]),
        ("[5s][5s]b", [("", 5.0), ("b", 5.0)]),
        ("calm [5s][5s]b", [("calm", 5.0), ("calm\nb", 5.0)]),
    ],
)
def test_storyboards(text: str, shots: list[tuple[str, float]]) -> None:
    assert [(shot.prompt, shot.duration) for shot in parse_storyboard(text)] == shots


def test_fences() -> None:
    for text in ("```\n[5s]a\n```", "```text\n[5s]a```", "```[5s]a```"):
        assert read_prompt(text, STYLES, shots=True).storyboard == (StoryboardShot("a", 5.0),)
    assert read_prompt("```\n[5s]a\n```", STYLES, shots=False).text == "```\n[5s]a\n```"


@pytest.mark.parametrize(
    ("text", "style", "rest"),
    [
        ("{anime} a cat", "anime", "a cat"),
        ("a {ANIME} cat", "anime", "a cat"),
        ("a cat {retro}{comic}", "retro", "a cat"),
        ("a {anime cat}", "", "a {anime cat}"),
        ("a { anime } cat", "", "a { anime } cat"),
        ("a {{anime}} cat", "anime", "a {} cat"),
        ("a {dog} {} cat ", "", "a {dog} {} cat "),
        ("a {dog} cat {news} ", "news", "a {dog} cat"),
        ("{vintage}", "", "{vintage}"),
    ],
)
def test_styles(text: str, style: str, rest: str) -> None:
    assert take_style(text, STYLES) == (style, rest)


@given(st.sampled_from(sorted(STYLES)), words, words)
def test_a_style_may_stand_anywhere(style: str, before: str, after: str) -> None:
    found, rest = take_style(f"{before} {{{style.upper()}}} {after}", STYLES)
    assert found == style
    assert "{" not in rest
    assert rest.split() == [*before.split(), *after.split()]


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        (SHARE, ""),
        (f"{SHARE} at night", "at night"),
        (f"at night: https://a.example.com/p/{SHARE}", "at night:"),
        (f"at https://a.example.com/p/{SHARE}?a=1#b night", "at night"),
        (f"at\n{SHARE.replace('abcdef', 'ABCDEF')}\nnight", "at night"),
    ],
)
def test_share_ids(text: str, rest: str) -> None:
    assert take_share_id(text) == (SHARE, rest)
    assert find_share_id(text) == SHARE


@pytest.mark.parametrize("text", ["", "s_0123", f"x{SHARE}", f"{SHARE}0", f"_{SHARE}"])
def test_what_is_no_share_id(text: str) -> None:
    assert take_share_id(text) == ("", text)


@given(words.filter(lambda text: "http" not in text), words)
def test_share_ids_in_text(before: str, after: str) -> None:
    share, rest = take_share_id(f"{before} {SHARE} {after}")
    assert share == SHARE
    assert rest.split() == [*before.split(), *after.split()]


@pytest.mark.parametrize(
    "text",
    [
        " " * 100_000,
        "[" * 100_000,
        "[5" + " " * 100_000,
        "[" + "9" * 100_000,
        "{" * 100_000,
        " {" * 50_000,
        "```" * 30_000,
        "```a" * 25_000,
        "http://" * 14_000 + f" {SHARE}",
        f"{SHARE}0 " * 2_500,
        "@" * 100_000,
    ],
)
def test_hostile_prompts_are_read_in_no_time(text: str) -> None:
    started = time.process_time()
    read_prompt(text, STYLES, shots=True)
    take_share_id(text)
    assert time.process_time() - started < 0.5


def test_mentions() -> None:
    text = "@cat123, @Dog456 and @cat123 of me@example.com, @@x1 (@cow789)"
    assert read_prompt(text, STYLES, shots=True).mentions == ("cat123", "dog456", "cow789")
    many = " ".join(f"@a{number}" for number in range(1000))
    assert len(read_prompt(many, STYLES, shots=True).mentions) == 20
