"""The model names that sora2api documents."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults
from framegate.core.types import MediaKind

PRO_PLAN = "chatgpt_pro"


def _names() -> list[CatalogueName]:
    landscape, portrait = (1280, 720), (720, 1280)
    hd_landscape, hd_portrait = (1920, 1080), (1080, 1920)
    families = (
        ("sora2", "", (10, 15, 25), landscape, portrait),
        ("sora2pro", PRO_PLAN, (10, 15, 25), landscape, portrait),
        ("sora2pro-hd", PRO_PLAN, (10, 15), hd_landscape, hd_portrait),
    )
    return [
        CatalogueName(
            f"{family}-{shape}-{seconds}s",
            MediaKind.VIDEO,
            Defaults(width=size[0], height=size[1], duration=float(seconds), fps=30.0),
            max_duration=float(seconds),
            plan=plan,
        )
        for family, plan, durations, *sizes in families
        for shape, size in zip(("landscape", "portrait"), sizes, strict=True)
        for seconds in durations
    ] + [
        CatalogueName(name, MediaKind.IMAGE, Defaults(width=width, height=height))
        for name, width, height in (
            ("gpt-image", 360, 360),
            ("gpt-image-landscape", 540, 360),
            ("gpt-image-portrait", 360, 540),
        )
    ]


CATALOGUE = tuple(_names())
