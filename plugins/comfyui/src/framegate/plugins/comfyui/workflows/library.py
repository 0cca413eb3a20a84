"""The workflow files, read again when they change."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TypeAlias

import structlog
from msgspec import Struct

from framegate.core.models import ModelSpec
from framegate.plugins.comfyui.workflows.capabilities import build_model_spec
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.workflow import Workflow, parse_workflow

SHIPPED_FOLDER = Path(__file__).with_name("shipped")
log = structlog.get_logger(__name__)

_FileVersion: TypeAlias = tuple[int, int, int]


class WorkflowModel(Struct, frozen=True):
    """A workflow, and the model that it offers."""

    workflow: Workflow
    spec: ModelSpec


class _WorkflowFile(Struct, frozen=True):
    """A file as it was last read; ``model`` is its last good version, if there was one."""

    version: _FileVersion
    model: WorkflowModel | None
    error: str = ""


class WorkflowLibrary:
    """The workflows in ``places``, each a folder or a file.

    A workflow is named after its file's stem; later places override earlier ones. If a file breaks, its last
    good version is kept until the file is repaired or removed.
    """

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._files: dict[Path, _WorkflowFile] = {}
        self._lock = Lock()

    def models(self) -> Mapping[str, WorkflowModel]:
        """Return the usable workflows by name, as the files are now."""
        return {path.stem: file.model for path, file in self._refresh().items() if file.model is not None}

    def errors(self) -> list[str]:
        """Return a sentence for each file that is broken now."""
        return [
            f"The workflow {path.name} can't be served: {file.error}."
            + (" Its previous version still is." if file.model else "")
            for path, file in self._refresh().items()
            if file.error
        ]

    def _refresh(self) -> dict[Path, _WorkflowFile]:
        with self._lock:
            known, self._files = self._files, {}
            for place in self._places:
                for path in _list_files(place):
                    if (file := _read_file(path, known.get(path))) is not None:
                        self._files[path] = file
            return self._files


def _list_files(place: Path) -> list[Path]:
    """Return the workflows' files in a folder, or ``place`` itself if it is none."""
    try:
        return sorted(place.glob("[!.]*.json")) if place.is_dir() else [place]
    except FileNotFoundError:  # the folder was removed meanwhile
        return []


def _read_file(path: Path, known: _WorkflowFile | None) -> _WorkflowFile | None:
    """Return the file's current content, or None if it is gone."""
    last_good = known.model if known else None
    try:
        status = path.stat()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if known is not None and known.version == version:
            return known
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _WorkflowFile((0, 0, 0), last_good, f"it can't be read: {error.strerror}")
    try:
        workflow = parse_workflow(path.stem, data)
        model = WorkflowModel(workflow, build_model_spec(workflow))
    except WorkflowError as error:
        # Not a warning: commands log warnings too, and print this in their own words.
        log.info("workflow_broken", file=path.name, reason=error.reason)
        return _WorkflowFile(version, last_good, error.reason)
    if known is not None:
        log.info("workflow_reloaded", file=path.name)
    return _WorkflowFile(version, model)
