"""Writing with the font that comes with Pillow, which knows little more than ASCII."""

import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

ELLIPSIS = "…"
_LONGEST = 600
"""More of a prompt than this is never drawn."""
_STAND_INS = {
    **dict.fromkeys("‐‑–—−―", "-"),
    **dict.fromkeys("„«»「」『』《》", '"'),
    "、": ", ",
    "。": ". ",
    "×": "x",
    "€": "EUR ",
    "Æ": "AE",
    "æ": "ae",
    "Œ": "OE",
    "œ": "oe",
    "ß": "ss",
    "Ø": "O",
    "ø": "o",
    "Ł": "L",
    "ł": "l",
    "Đ": "D",
    "đ": "d",
    "Þ": "Th",
    "þ": "th",
    "ı": "i",
}


@cache
def font_of(size: int) -> Font:
    return ImageFont.load_default(size)


def _drawing(character: str) -> bytes:
    canvas = Image.new("L", (48, 48))
    ImageDraw.Draw(canvas).text((12, 8), character, fill=255, font=font_of(24))
    return canvas.tobytes()


@cache
def _has_glyph(character: str) -> bool:
    return _drawing(character) != _drawing("\uffff")


def drawable(text: str) -> str:
    """``text`` in one line with only what the font can draw.

    Accents that it lacks are dropped from their letters; a stretch of other signs becomes an ellipsis.
    Empty if nothing readable is left.
    """
    written: list[str] = []
    for character in text[:_LONGEST]:
        for sign in _readings(character):
            if sign != ELLIPSIS or not "".join(written[-2:]).strip().endswith(ELLIPSIS):
                written.append(sign)
    line = " ".join("".join(written).split())
    return line if any(sign.isalnum() for sign in line) else ""


def _readings(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in {"Cc", "Cf", "Mn", "Me", "Sk"}:
        return ""
    plain = unicodedata.normalize("NFKD", _STAND_INS.get(character, character))
    kept = "".join(sign for sign in plain if sign == " " or (sign.isprintable() and _has_glyph(sign)))
    return kept or ELLIPSIS


def wrapped(text: str, font: Font, width: float, lines: int) -> list[str]:
    """``text`` in at most ``lines`` lines of ``width`` pixels; what is left out is an ellipsis."""
    words = text.split(" ")
    result: list[str] = []
    while words and len(result) < lines:
        line = ""
        while words and font.getlength(f"{line} {words[0]}".strip()) <= width:
            line = f"{line} {words.pop(0)}".strip()
        if not line:
            fitting = _longest_start(words[0], font, width)
            line, words[0] = words[0][:fitting], words[0][fitting:]
        result.append(line)
    if words:
        result[-1] = _shortened(result[-1], font, width)
    return result


def _longest_start(word: str, font: Font, width: float) -> int:
    length = len(word)
    while length > 1 and font.getlength(word[:length]) > width:
        length -= 1
    return length


def _shortened(line: str, font: Font, width: float) -> str:
    """``line`` with an ellipsis, cut between words unless it is a single one."""
    while line and font.getlength(line + ELLIPSIS) > width:
        line = line.rpartition(" ")[0] or line[:-1]
    return line.rstrip(" ,.;:…") + ELLIPSIS
