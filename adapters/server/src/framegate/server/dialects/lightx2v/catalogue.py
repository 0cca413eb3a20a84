"""The model names that lightx2v serves requests with."""

from framegate.core.dialect import CatalogueName
from framegate.core.models import Defaults
from framegate.core.types import MediaKind

CATALOGUE = (
    CatalogueName(
        "lightx2v",
        MediaKind.VIDEO,
        Defaults(width=832, height=480, fps=16.0, duration=5.0, num_inference_steps=4),
    ),
    CatalogueName("lightx2v-image", MediaKind.IMAGE, Defaults(width=1664, height=928, num_inference_steps=5)),
)
