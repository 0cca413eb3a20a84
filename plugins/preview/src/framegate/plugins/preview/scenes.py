"""Which scene a prompt gets."""

import re
from collections.abc import Mapping

from framegate.plugins.preview.landscape import Landscape, Place
from framegate.plugins.preview.motion import ParticleSpec
from framegate.plugins.preview.painting import Ridge
from framegate.plugins.preview.pixels import PALETTES, Palette, parse_hex_color, random_for

_DUST = ParticleSpec("fff1d6", 26, 0.02, (0.02, -0.008), opacity=0.42, twinkle=0.7)
_FIREFLIES = ParticleSpec("ffe9b0 fff6d8", 38, 0.011, (0.012, -0.014), opacity=0.95, twinkle=0.8)
_FLAKES = ParticleSpec("fafbff", 130, 0.012, (0.05, 0.16), soft=1.0)
_STARDUST = ParticleSpec("ffffff c8d8ff", 40, 0.012, (-0.05, 0.012), soft=1.0, opacity=0.6, twinkle=0.6)
_BOKEH = ParticleSpec("fffaeb ffecd6", 18, 0.06, (0.015, -0.02), soft=0.2, opacity=0.3, twinkle=0.6)

_PEAKS = Ridge(0.34, 0.26, 0.2, 3.2, 0.75, 0.25, snow=0.3)
_ALPS, _CLIFFS = _PEAKS._replace(snow=0.75), _PEAKS._replace(crest=0.24)
_BANK = (_CLIFFS, Ridge(0.44, 0.12, 0.45), Ridge(0.53, 0.07, 0.7, pines=0.11))
_VALLEY = (Ridge(0.58, 0.12, 0.35, 3.7), Ridge(0.71, 0.12, 0.55, 3.3), Ridge(0.84, 0.07, 1.0, pines=0.13))
_WOODS = tuple(Ridge(0.54 + 0.115 * n, 0.07, 0.28 + 0.2 * n, pines=0.09 * 1.6**n) for n in range(4))
_DRIFT = Ridge(0.8, 0.08, 1.0, 1.6, 0.1, 0.6, snow=9.0)
_ISLANDS = (Ridge(0.46, 0.1, 0.12), Ridge(0.51, 0.08, 0.35))
_DUNES = tuple(Ridge(0.54 + 0.1 * n, 0.08, 0.25 * n + 0.25, 3.4 - 0.5 * n, 0.0, 0.72) for n in range(4))
_TOWN = tuple(Ridge(0.74, 0.01, 0.3 + 0.3 * n, relief=0.0, towers=0.56 - 0.15 * n) for n in range(3))
_FOLDS = tuple(Ridge(0.16 + 0.17 * n, 0.3, 0.08 + 0.22 * n, 1.7, 0.0, 0.4) for n in range(5))

_OUTDOORS = ("dawn", "day", "sunset", "dusk")
PLACES: Mapping[str, Place] = {
    "space": Place(("space",), 1.0, (), _STARDUST),
    "snow": Place(("winter",), 0.78, (_ALPS, *_WOODS[1:3], _DRIFT), _FLAKES),
    "desert": Place(("desert",), 0.66, _DUNES, _DUST, clouds=0.26),
    "city": Place(("night", "night", "dusk"), 0.74, _TOWN, _DUST, clouds=0.36, chop=0.75),
    "lake": Place(_OUTDOORS, 0.62, _BANK, _DUST, chop=0.4),
    "sea": Place(_OUTDOORS, 0.56, _ISLANDS, _DUST, chop=1.0),
    "forest": Place(_OUTDOORS, 0.8, (_PEAKS, *_WOODS), _FIREFLIES, clouds=0.38),
    "mountains": Place(_OUTDOORS, 0.78, (_PEAKS, *_VALLEY), _DUST),
    "abstract": Place(("abstract",), 0.6, _FOLDS, _BOKEH, clouds=0.0),
}
NAMES = {
    "space": "space star galaxy galaxies nebula planet astronaut rocket moon mars 太空 宇宙 星 银河 月球",
    "snow": "snow snowy snowflake winter ice icy frozen blizzard arctic christmas 雪 冬 冰",
    "desert": "desert dune sand sahara canyon camel savannah 沙漠 沙丘",
    "city": "city cities town street urban skyline neon car taxi tokyo london night 城市 街 夜 霓虹 大楼",
    "lake": "lake pond river stream pool swan duck reflection 湖 池 河",
    "sea": "sea ocean water wave beach coast boat ship sailing surfing island harbour whale 海 船 浪 沙滩 水",
    "forest": "forest wood tree jungle fox foxes bear deer garden leaf leaves 森林 树 林",
    "mountains": "mountain hill valley peak cliff eagle landscape meadow field horse sky cloud 山 谷 草原 云",
    "abstract": "abstract pattern 抽象",
}
HOURS = {
    "night": "night midnight moonlit moonlight dark starry 夜 深夜 月光",
    "sunset": "sunset evening golden 日落 夕阳 黄昏 晚霞",
    "dusk": "dusk twilight purple 暮",
    "dawn": "dawn sunrise morning misty mist pastel 日出 清晨 早晨 黎明",
    "day": "day daylight noon sunny midday bright 白天 中午 阳光",
}


def names_pattern(words: str) -> str:
    """Return the pattern that finds the first of ``words``, whole and in the plural too."""
    return rf"(?<![a-z])(?:{'|'.join(words.split())})s?(?![a-z])"


def _first_named(names: Mapping[str, str], prompt: str) -> str:
    """Return the key of the name that stands first in ``prompt``, or an empty string."""
    starts: dict[str, int] = {}
    for key, words in names.items():
        pattern = names_pattern(words)
        if found := re.search(pattern, prompt, re.IGNORECASE):
            starts[key] = found.start()
    return min(starts, key=lambda key: starts[key], default="")


def choose_place(prompt: str, seed: int) -> str:
    """Return the place that the prompt names first; without one, any."""
    return _first_named(NAMES, prompt) or str(random_for("place", prompt, seed).choice(list(PLACES)))


def scene_for(prompt: str, seed: int, size: tuple[int, int], seconds: float) -> Landscape:
    """Return the scene of a prompt, in the light that it names, which draws images of that size."""
    key, rng = choose_place(prompt, seed), random_for("scene", prompt, seed)
    hour = str(rng.choice(PLACES[key].hours))
    if key not in {"space", "abstract"}:
        hour = _first_named(HOURS, prompt) or hour
    palette = Palette(*map(parse_hex_color, str(rng.choice(PALETTES[hour])).split()))
    return Landscape(rng, PLACES[key], palette, size, seconds)
