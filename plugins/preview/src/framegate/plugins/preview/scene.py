"""Which scene a prompt gets."""

import re
from collections.abc import Callable

from PIL import Image

from framegate.plugins.preview.abstract import Silk
from framegate.plugins.preview.motion import Moment
from framegate.plugins.preview.outdoors import city, desert, forest, lake, mountains, sea, snow
from framegate.plugins.preview.panorama import Scene
from framegate.plugins.preview.space import space
from framegate.plugins.preview.stage import Stage

Family = Callable[[Stage], Scene]

SMALLEST = 64
"""Scenes are painted at this size at least and made smaller afterwards."""

FAMILIES: dict[str, Family] = {
    "space": space,
    "snow": snow,
    "desert": desert,
    "city": city,
    "lake": lake,
    "sea": sea,
    "forest": forest,
    "mountains": mountains,
    "abstract": Silk,
}

_WORDS: dict[str, str] = {
    "space": "space stars? starry galaxy galaxies nebula planets? cosmos cosmic astronauts? orbit rocket "
    "universe moon mars 太空 宇宙 星空 银河 星球 月球",
    "snow": "snow\\w* winter ice icy frozen blizzard arctic christmas 雪 冬 冰",
    "desert": "deserts? dunes? sand sahara canyons? camels? savannah? 沙漠 沙丘",
    "city": "city cities town streets? urban skyline skyscrapers? neon cyberpunk cars? taxi traffic tokyo "
    "london paris night nights? buildings? downtown 城市 街 夜 霓虹 大楼 都市",
    "lake": "lakes? ponds? rivers? stream pool swans? ducks? reflection 湖 池 河",
    "sea": "sea seas ocean water waves? beach\\w* coast\\w* boats? ships? sail\\w* surf\\w* island harbou?r "
    "fish whales? dolphins? 海 船 浪 沙滩 水",
    "forest": "forests? woods? trees? jungle fox\\w* bears? deer garden leaf leaves 森林 树 林",
    "mountains": "mountains? hills? valley peaks? alps? cliffs? eagles? landscape meadow fields? horses? "
    "dragons? castle sky clouds? balloons? birds? 山 谷 草原 天空 云 风景",
}
_HOURS: dict[str, str] = {
    "night": "night nights midnight moonlit moonlight dark starry 夜 深夜 月光",
    "sunset": "sunset evening golden 日落 夕阳 黄昏 晚霞",
    "dusk": "dusk twilight purple 暮",
    "dawn": "dawn sunrise morning misty mist pastel 日出 清晨 早晨 黎明",
    "day": "day daylight noon sunny midday bright 白天 中午 阳光",
}


def _named_by(words: str, prompt: str) -> int:
    """Where the first of ``words`` stands in ``prompt``; its length if none does."""
    latin = "|".join(word for word in words.split() if word.isascii())
    other = "|".join(word for word in words.split() if not word.isascii())
    found = re.search(rf"\b(?:{latin})\b|{other}", prompt, re.IGNORECASE)
    return found.start() if found else len(prompt)


def _first_named(table: dict[str, str], prompt: str) -> str:
    places = {name: _named_by(words, prompt) for name, words in table.items()}
    name = min(places, key=lambda name: places[name])
    return name if places[name] < len(prompt) else ""


def choose_family(stage: Stage) -> str:
    """The family that the prompt names first; without one, any by its hash."""
    named = _first_named(_WORDS, stage.prompt)
    if named:
        return named
    any_of = ("abstract", "abstract", "mountains", "sea", "forest", "lake", "desert")
    return any_of[int(stage.random("family").integers(0, len(any_of)))]


def scene_for(prompt: str, seed: int, width: int, height: int, duration: float) -> Scene:
    """The scene of a prompt. It draws pictures of exactly ``width`` × ``height``."""
    stage = Stage(
        max(width, SMALLEST),
        max(height, SMALLEST),
        prompt,
        seed,
        duration,
        hour=_first_named(_HOURS, prompt),
    )
    scene = FAMILIES[choose_family(stage)](stage)
    return scene if (stage.width, stage.height) == (width, height) else _Shrunk(scene, width, height)


class _Shrunk:
    def __init__(self, scene: Scene, width: int, height: int) -> None:
        self._scene = scene
        self._size = width, height

    def draw(self, moment: Moment) -> Image.Image:
        return self._scene.draw(moment).resize(self._size, Image.Resampling.BOX)
