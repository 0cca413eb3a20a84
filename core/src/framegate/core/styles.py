"""The styles that a request may name, and what each adds to the prompt."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from framegate.core.config_errors import ErrorCollector, suggest
from framegate.core.errors import InvalidRequest


class Style(Struct, frozen=True):
    """A style: ``label`` is its name for people, ``prompt`` what is appended to the prompt."""

    name: str
    label: str
    prompt: str


_ALL = (
    Style(
        "festive",
        "Festive",
        "festive holiday mood, warm twinkling string lights, garlands and confetti, rich reds and gold",
    ),
    Style(
        "kakalaka",
        "🪭👺 Kakalaka",
        "chaotic and absurd, wild energy, whip pans and crash zooms, clashing neon colours, theatrical masks "
        "and fans, surreal comedy",
    ),
    Style(
        "news",
        "News",
        "television news footage, live broadcast look, steady shoulder camera, neutral light, crisp focus",
    ),
    Style(
        "selfie",
        "Selfie",
        "selfie video on a phone held at arm's length, wide front camera, close to the subject, casual and "
        "candid, natural light",
    ),
    Style(
        "handheld",
        "Handheld",
        "handheld documentary camera, slight natural shake, imperfect framing, available light, immediate",
    ),
    Style(
        "golden",
        "Golden",
        "golden hour, low warm sun, long soft shadows, glowing backlight, gentle lens flare",
    ),
    Style(
        "anime",
        "Anime",
        "anime, hand-drawn cel animation, clean line art, flat shading, vivid colours, painted backgrounds",
    ),
    Style(
        "retro",
        "Retro",
        "1980s VHS recording, analogue video, scan lines, bleeding colours, tracking noise, soft contrast",
    ),
    Style(
        "nostalgic",
        "Vintage",
        "vintage 8 mm home movie, faded warm colours, film grain, light leaks, dust and scratches",
    ),
    Style(
        "comic",
        "Comic",
        "comic book art, bold ink outlines, halftone dots, flat saturated colours, dramatic panels",
    ),
)

STYLES: Mapping[str, Style] = MappingProxyType({style.name: style for style in _ALL})


def with_prompts(prompts: Mapping[str, str]) -> Mapping[str, Style]:
    """Return the styles with an operator's own prompts for some of them.

    Raises:
        ConfigError: There is no such style.
    """
    found = ErrorCollector()
    for name in prompts.keys() - STYLES.keys():
        found.add(f"unknown style {name!r}{suggest(name, STYLES)}", "styles", name)
    found.raise_errors()
    return {name: replace(style, prompt=prompts.get(name, style.prompt)) for name, style in STYLES.items()}


def find_style(styles: Mapping[str, Style], name: str | None) -> Style | None:
    """Return the style of that name, or None if no style is requested.

    Raises:
        InvalidRequest: There is no such style; the message lists those that exist.
    """
    if name is None or name in styles:
        return styles[name] if name else None
    raise InvalidRequest(f"Unknown style {name[:100]!r}; available: {', '.join(styles)}.", param="style")
