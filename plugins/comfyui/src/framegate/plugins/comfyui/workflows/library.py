"""The workflow files, read again when they change."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import structlog
from msgspec import Struct

from framegate.core.models import ModelSpec
from framegate.plugins.comfyui.workflows.capabilities import spec_of
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.workflow import Workflow, parse_workflow

SHIPPED = Path(__file__).with_name("shipped")
log = structlog.get_logger(__name__)

_Stamp: TypeAlias = tuple[int, int, int]


class Entry(Struct, frozen=True):
    """A workflow, and the model that it is."""

    workflow: Workflow
    spec: ModelSpec


class _File(Struct, frozen=True):
    stamp: _Stamp
    entry: Entry | None
    fault: str = ""


class Library:
    """The workflows in ``places``, folders or files, by their names, the files' stems; a later one's win.

    Of a file that is broken the last good version is kept, if there was one, until the file is right or gone.
    """

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._files: dict[Path, _File] = {}
        self._lock = Lock()

    def entries(self) -> Mapping[str, Entry]:
        """As the files are now."""
        return {path.stem: file.entry for path, file in self._current().items() if file.entry is not None}

    def faults(self) -> list[str]:
        """What is wrong with files, a sentence each."""
        return [
            f"The workflow {path.name} can't be served: {file.fault}."
            + (" The version before it still is." if file.entry else "")
            for path, file in self._current().items()
            if file.fault
        ]

    def _current(self) -> dict[Path, _File]:
        with self._lock:
            known, self._files = self._files, {}
            for place in self._places:
                for path in sorted(place.glob("[!.]*.json")) if place.is_dir() else [place]:
                    if (file := _read(path, known.get(path))) is not None:
                        self._files[path] = file
            return self._files


def _read(path: Path, known: _File | None) -> _File | None:
    """What the file holds now; None if it is gone."""
    before = known.entry if known else None
    try:
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if known is not None and known.stamp == stamp:
            return known
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _File((0, 0, 0), before, f"it can't be read: {error.strerror}")
    try:
        workflow = parse_workflow(path.stem, data)
        entry = Entry(workflow, spec_of(workflow))
    except WorkflowFault as fault:
        # Commands say it in their own words, and log from warnings on.
        log.info("workflow_broken", file=path.name, reason=fault.reason)
        return _File(stamp, before, fault.reason)
    if known is not None:
        log.info("workflow_reloaded", file=path.name)
    return _File(stamp, entry)
