"""Read what a prompt contains besides its text: ``{style}``, ``@character``, ``[5.0s]``, a remix id. Pure."""

import re
from collections.abc import Collection, Sequence

from msgspec import Struct

from framegate.core.admission import MAX_PROMPT
from framegate.core.errors import InvalidRequest
from framegate.core.planning import MAX_SHOTS
from framegate.core.types import StoryboardShot
from framegate.server.dialects.openai.fields import find_mentions

_SHARE_ID = re.compile(r"(?<![0-9A-Za-z_])s_[0-9A-Fa-f]{32}(?![0-9A-Za-z_])")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_LINK_AFTER = re.compile(r"[/?#]\S*")
_GROUP = re.compile(r"\{([^{}\s]+)\}")
_SHOT = re.compile(r"\[\s*(\d+(?:\.\d*)?|\.\d+)\s*s\s*\]", re.ASCII | re.IGNORECASE)
_ROUNDING = 1e-6
"""Seconds that a sum of times may be off."""
_FENCE = re.compile(r"```[\w-]*[ \t]*\n|```", re.ASCII)


class Prompt(Struct, frozen=True):
    """A prompt's ``text`` without its style, and what was read from it."""

    text: str
    style: str = ""
    storyboard: tuple[StoryboardShot, ...] = ()
    mentions: tuple[str, ...] = ()


def read_prompt(text: str, styles: Collection[str], *, shots: bool) -> Prompt:
    """Read a prompt; with ``shots``, which is for videos, ``[5.0s]`` begins a shot.

    Raises:
        InvalidRequest: There are too many shots, or together they have too long a text.
    """
    style, text = take_style(text, styles)
    storyboard: tuple[StoryboardShot, ...] = ()
    if shots and _SHOT.search(text):
        text = _FENCE.sub("", text).strip()
        storyboard = parse_storyboard(text)
    return Prompt(text, style, storyboard, find_mentions(text))


def take_style(text: str, styles: Collection[str]) -> tuple[str, str]:
    """Return the style that is named first (empty: none), and the text without the groups that name one."""
    named: list[str] = []
    kept: list[str] = []
    end = 0
    for group in _GROUP.finditer(text):
        name = group[1].lower()
        if name in styles:
            named.append(name)
            kept.append(text[end : group.start()].rstrip(" \t"))  # a pattern for it would be quadratic
            end = group.end()
    if not named:
        return "", text
    return named[0], "".join((*kept, text[end:])).strip()


def parse_storyboard(text: str) -> tuple[StoryboardShot, ...]:
    """Return the shots of ``[5.0s]first [5.0s]second``; a text before the first applies to each of them.

    Raises:
        InvalidRequest: There are more than `MAX_SHOTS`, or together they have too long a text.
    """
    common, *pieces = _SHOT.split(text)
    if (count := len(pieces) // 2) > MAX_SHOTS:
        raise InvalidRequest(
            f"The storyboard has {count:,} shots; at most {MAX_SHOTS} are made.", param="prompt"
        )
    if (length := count * len(common)) > MAX_PROMPT:
        raise InvalidRequest(
            f"The text before the first shot applies to each of {count} shots, which makes {length:,} "
            f"characters; at most {MAX_PROMPT:,} are accepted.",
            param="prompt",
        )
    shots = zip(pieces[::2], pieces[1::2], strict=True)
    return tuple(
        StoryboardShot("\n".join(part for part in (common.strip(), words.strip()) if part), float(seconds))
        for seconds, words in shots
    )


def check_length(storyboard: Sequence[StoryboardShot], max_seconds: float) -> None:
    """Refuse a storyboard that is longer than ``max_seconds``.

    Raises:
        InvalidRequest: It is longer.
    """
    total = sum(shot.duration for shot in storyboard)
    if total > max_seconds + _ROUNDING:
        raise InvalidRequest(
            f"The shots of the storyboard add up to {total:.9g} s; they may have at most {max_seconds:.9g} s "
            "in all.",
            param="prompt",
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
    before = text[:start]
    word = before.rsplit(maxsplit=1)[-1] if before and not before[-1].isspace() else ""
    if link := _LINK.search(word):
        start -= len(word) - link.start()
        if rest := _LINK_AFTER.match(text, end):
            end = rest.end()
    left = " ".join(part for part in (text[:start].strip(), text[end:].strip()) if part)
    return match[0].lower(), left
