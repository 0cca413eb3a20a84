"""Show text from elsewhere to people: without the characters that a terminal obeys, or that nobody sees."""

import re

_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f"  # control characters, ESC among them
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # those that change the direction of text
    r"\xad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff"  # those of no width
    r"\u2028\u2029\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"  # other separators, halves, tags
)
_TEXT = re.compile(f"[{_UNSEEN}]")
_LINES = re.compile(rf"(?!\n)[{_UNSEEN}]")


def printable(text: str, *, keep_lines: bool = False) -> str:
    r"""Return ``text`` with ``\x1b`` and ``\u202e`` written out; line breaks stay with ``keep_lines``."""
    return (_LINES if keep_lines else _TEXT).sub(_written_out, text)


def printable_json(text: str) -> str:
    """Return a JSON text that stands for the same value; line breaks between its values stay."""
    if text.isascii() and text.isprintable():  # nearly always, and found in a tenth of the time
        return text
    return _LINES.sub(_as_json, text)


def _written_out(character: re.Match[str]) -> str:
    code = ord(character[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _as_json(character: re.Match[str]) -> str:
    units = character[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
