"""How a plugin introduces an API dialect, as data: listing dialects imports none of them."""

from msgspec import Struct

from framegate.core.models import Defaults, FrameRule, SizeRule
from framegate.core.types import MediaKind, Task


class CatalogueName(Struct, frozen=True):
    """A model name that an API documents, and what its documentation promises.

    Whatever model serves the name is narrowed to the promise, so that clients meet the same rules on
    every server.

    Attributes:
        name: The name as requests give it.
        kind: What it makes.
        defaults: Default values for fields that a request omits.
        sizes: The sizes that the documentation allows; None for the model's own.
        frames: The frame counts that it allows; None for the model's own.
        max_duration: The longest video in seconds; None for the model's own.
        tasks: The tasks that it allows; empty for the model's own.
        plan: The plan that a key needs to use it; empty for none.
        max_running: How many of its jobs run at once; 0 for any number.
    """

    name: str
    kind: MediaKind
    defaults: Defaults
    sizes: SizeRule | None = None
    frames: FrameRule | None = None
    max_duration: float | None = None
    tasks: frozenset[Task] = frozenset()
    plan: str = ""
    max_running: int = 0


class DialectSpec(Struct, frozen=True):
    """An API dialect.

    ``factory`` is the import string ``module:function`` of what creates its routes; an HTTP adapter says with
    which arguments it is called (see `framegate.server.dialect`). ``catalogue`` holds the model names that
    the API documents. They exist as soon as the dialect is installed: the config's ``[presets] NAME`` points
    them at served models, and until then the preview model stands behind them. Lists of models begin with
    the catalogues of the lowest ``catalogue_order``; those of the same order follow each other as their
    dialects do. ``prefix`` is the path below which it is mounted unless the config says otherwise.
    """

    name: str
    summary: str
    factory: str
    catalogue: tuple[CatalogueName, ...] = ()
    catalogue_order: int = 0
    prefix: str = ""
