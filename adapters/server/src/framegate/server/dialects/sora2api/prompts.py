"""Read what a prompt contains besides its text: ``{style}``, ``@character``, ``[5.0s]``, a remix id. Pure."""

import re
from collections.abc import Collection

from msgspec import Struct

from framegate.core.types import StoryboardShot
from framegate.server.dialects.openai.fields import find_mentions

_SHARE_ID = re.compile(r"(?<![0-9A-Za-z_])s_[0-9A-Fa-f]{32}(?![0-9A-Za-z_])")
_LINK_BEFORE = re.compile(r"https?://\S*$", re.IGNORECASE)
_LINK_AFTER = re.compile(r"[/?#]\S*")
_GROUP = re.compile(r"[ \t]*\{([^{}\s]+)\}")
_SHOT = re.compile(r"\[\s*(\d+(?:\.\d*)?|\.\d+)\s*s\s*\]", re.ASCII | re.IGNORECASE)
_FENCE = re.compile(r"```[\w-]*[ \t]*\n|```", re.ASCII)


class Prompt(Struct, frozen=True):
    """A prompt's ``text`` without its style, and what was read from it."""

    text: str
    style: str = ""
    storyboard: tuple[StoryboardShot, ...] = ()
    mentions: tuple[str, ...] = ()


def read_prompt(text: str, styles: Collection[str], *, shots: bool) -> Prompt:
    """Read a prompt; with ``shots``, which is for videos, ``[5.0s]`` begins a shot."""
    style, text = take_style(text, styles)
    storyboard: tuple[StoryboardShot, ...] = ()
    if shots and _SHOT.search(text):
        text = _FENCE.sub("", text).strip()
        storyboard = parse_storyboard(text)
    return Prompt(text, style, storyboard, find_mentions(text))


def take_style(text: str, styles: Collection[str]) -> tuple[str, str]:
    """Return the style that is named first (empty: none), and the text without the groups that name one."""
    named: list[str] = []

    def take(group: re.Match[str]) -> str:
        name = group[1].lower()
        if name not in styles:
            return group[0]
        named.append(name)
        return ""

    text = _GROUP.sub(take, text)
    return (named[0], text.strip()) if named else ("", text)


def parse_storyboard(text: str) -> tuple[StoryboardShot, ...]:
    """Return the shots of ``[5.0s]first [5.0s]second``; a text before the first applies to each of them."""
    common, *pieces = _SHOT.split(text)
    shots = zip(pieces[::2], pieces[1::2], strict=True)
    return tuple(
        StoryboardShot("\n".join(part for part in (common.strip(), words.strip()) if part), float(seconds))
        for seconds, words in shots
    )


def find_share_id(text: str) -> str:
    """Return the first share id in a text or a link, empty if there is none."""
    match = _SHARE_ID.search(text)
    return match[0].lower() if match else ""


def take_share_id(text: str) -> tuple[str, str]:
    """Return the first share id, and the text without it and without the link that holds it."""
    match = _SHARE_ID.search(text)
    if match is None:
        return "", text
    start, end = match.span()
    if link := _LINK_BEFORE.search(text, 0, start):
        start = link.start()
        if rest := _LINK_AFTER.match(text, end):
            end = rest.end()
    left = " ".join(part for part in (text[:start].strip(), text[end:].strip()) if part)
    return match[0].lower(), left
