"""The model names of OpenAI's videos and images."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults
from framegate.core.types import MediaKind

CATALOGUE = (
    *(
        CatalogueName(name, MediaKind.VIDEO, Defaults(width=720, height=1280, fps=24.0, duration=4.0))
        for name in (
            "sora-2",
            "sora-2-2025-10-06",
            "sora-2-2025-12-08",
            "sora-2-pro",
            "sora-2-pro-2025-10-06",
        )
    ),
    *(
        CatalogueName(name, MediaKind.IMAGE, Defaults(width=1024, height=1024))
        for name in (
            "gpt-image-2.6-sunburst",
            "gpt-image-2.6-flare",
            "gpt-image-2.5-sunburst",
            "gpt-image-2.5-sunburst-2026-09-08",
            "gpt-image-2.5-flare",
            "gpt-image-2.5-flare-2026-09-08",
            "gpt-image-2",
            "gpt-image-2-2026-04-21",
            "gpt-image-1.5",
            "gpt-image-1",
            "gpt-image-1-mini",
            "chatgpt-image-latest",
            "dall-e-3",
            "dall-e-2",
        )
    ),
)
