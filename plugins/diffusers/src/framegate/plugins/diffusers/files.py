"""Which of a model's files are missing. Nothing is loaded, and nothing heavy imported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framegate.core.backend import is_path, missing_paths
from framegate.core.hub_cache import cached_snapshot
from framegate.plugins.diffusers.options import Lora, Options
from framegate.plugins.diffusers.planning.model_folder import INDEX


def find_missing_files(source: str, options: Options, loras: Mapping[str, Lora]) -> list[str]:
    """Return what is missing on this host, one sentence each.

    ``loras`` are all that the options name, by the options' names.
    """
    missing = _missing_of_source(source, options)
    missing += missing_paths({f"weights.{name}": file for name, file in options.weights.items()})
    for option, lora in loras.items():
        missing += missing_paths({f"{option}.source": lora.source})
        folder = Path(lora.source).expanduser()
        if lora.weight_name and folder.is_dir() and not (folder / lora.weight_name).is_file():
            missing.append(f"{option}.weight_name: {folder} has no file {lora.weight_name}")
    return missing


def _missing_of_source(source: str, options: Options) -> list[str]:
    folder = Path(source).expanduser()
    if not folder.exists():
        if is_path(source):
            return missing_paths({"source": source})
        if options.offline and not cached_snapshot(source):
            return [f"source: {source} is not in this host's hub cache, and options.offline is set"]
        return []
    if not folder.is_dir():
        return [f"source: {folder} is a file, and a model in diffusers' layout is a folder"]
    if not (folder / INDEX).is_file():
        return [f"source: the folder {folder} has no {INDEX}, so it is not in diffusers' layout"]
    try:
        index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [f"source: {folder / INDEX} can't be read"]
    return [
        f"source: the folder {folder} has no component {component!r}, which its {INDEX} names"
        for component, entry in index.items()
        if isinstance(entry, list) and entry[:1] != [None] and not component.startswith("_")
        if component not in options.weights and not (folder / component).is_dir()
    ]
