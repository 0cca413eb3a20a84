"""What commands show of jobs, models and characters, wherever those are.

The names are those of the server's own API, from whose answers the views are decoded. ``document`` is what
``--json`` prints.
"""

import datetime
from typing import Any

from msgspec import Struct, field

from framegate.core.jobs import JobError, JobState
from framegate.core.models import Defaults, FrameRule, Range, SizeRule


class ChangeView(Struct, frozen=True):
    """A value that was ``asked`` for, the one that was ``used`` instead, and why."""

    field: str
    asked: Any
    used: Any
    why: str = ""


class ResultView(Struct, frozen=True, kw_only=True):
    """A result file; ``size`` is its bytes."""

    kind: str = ""
    content_type: str = ""
    size: int = 0
    width: int = 0
    height: int = 0
    duration: float = 0.0


class JobView(Struct, frozen=True, kw_only=True):
    """A job.

    ``request`` holds the values that were used, by the names of `GenerationRequest`. ``owner`` and
    ``dialect`` are empty where the server doesn't say them.
    """

    id: str
    state: JobState
    progress: float = 0.0
    message: str = ""
    position: int | None = None
    eta_seconds: float | None = None
    model: str = ""
    served_by: str = ""
    task: str = ""
    owner: str = ""
    dialect: str = ""
    request: dict[str, Any] = {}
    changes: tuple[ChangeView, ...] = ()
    results: tuple[ResultView, ...] = ()
    error: JobError | None = None
    share_id: str | None = None
    attempt: int = 0
    created_at: datetime.datetime | None = None
    started_at: datetime.datetime | None = None
    finished_at: datetime.datetime | None = None
    expires_at: datetime.datetime | None = None
    metadata: dict[str, str] | None = None
    document: Any = None

    @property
    def waiting(self) -> str:
        """Its place in the queue, and how long it may take, where the server says so."""
        if self.position is None:
            return ""
        estimate = "" if self.eta_seconds is None else f", about {self.eta_seconds:.0f} s"
        return f"position {self.position}{estimate}"


class CharacterView(Struct, frozen=True, kw_only=True, rename={"username": "name"}):
    """A character; ``details`` are further fields and their values, for people."""

    username: str
    display_name: str = ""
    owner: str = ""
    created_at: datetime.datetime | None = None
    temporary: bool = False
    details: tuple[tuple[str, str], ...] = ()
    document: Any = None


class DefaultsView(Defaults, frozen=True, forbid_unknown_fields=False):
    """Those of a server that may be newer and know further ones."""


class ModelView(Struct, frozen=True, kw_only=True):
    """A name that requests may use.

    ``catalogue`` is the dialect whose clients know the name, ``plan`` what a key needs to use it.
    """

    name: str
    served_by: str
    backend: str = ""
    tasks: tuple[str, ...] = ()
    sizes: SizeRule = field(default_factory=SizeRule)
    frames: FrameRule = field(default_factory=FrameRule)
    fps: Range | None = None
    defaults: DefaultsView = field(default_factory=DefaultsView)
    plan: str = ""
    catalogue: str = ""
    license: str = ""
    ready: bool | None = None
    document: Any = None
