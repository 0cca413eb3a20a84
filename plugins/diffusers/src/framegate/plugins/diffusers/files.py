"""Which of a model's files are missing. Nothing is loaded, and nothing heavy imported."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from framegate.core.backend import is_path, missing_paths
from framegate.core.errors import GenerationFailed
from framegate.core.hub_cache import cached_snapshot
from framegate.plugins.diffusers.options import Lora, Options
from framegate.plugins.diffusers.planning.model_folder import INDEX, read_index


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
        if not options.offline:  # what is missing is downloaded
            return []
        if (snapshot := cached_snapshot(source)) is None:
            return [f"source: {source} is not in this host's hub cache, and options.offline is set"]
        return missing_components(snapshot, options)
    if not folder.is_dir():
        return [f"source: {folder} is a file, and a model in diffusers' layout is a folder"]
    return missing_components(folder, options)


def missing_components(folder: Path, options: Options) -> list[str]:
    """Return what a model's ``folder``, which may be a snapshot of the hub's cache, lacks."""
    if not (folder / INDEX).is_file():
        return [f"source: the folder {folder} has no {INDEX}, so it is not in diffusers' layout"]
    try:
        index = read_index(folder)
    except GenerationFailed:
        return [f"source: {folder / INDEX} can't be read"]
    named = [
        component
        for component, entry in index.items()
        if isinstance(entry, list) and cast("list[object]", entry)[:1] != [None]
        if not component.startswith("_") and component not in options.weights
    ]
    return [
        f"source: the folder {folder} {lack}" for each in named if (lack := _lack_of(folder / each, options))
    ]


def _lack_of(component: Path, options: Options) -> str:
    """Return what the folder of a component lacks, as the end of a sentence."""
    if not component.is_dir():
        return f"has no component {component.name!r}, which its {INDEX} names"
    if not (component / "config.json").is_file():  # a tokenizer, a scheduler
        return ""
    if not any(component.glob("*.safetensors")):
        return f"has no weights in the safetensors format for its component {component.name!r}"
    variant = f".{options.variant}" if options.variant else ""
    for listing in component.glob(f"*.safetensors.index{variant}.json"):
        if gone := sorted(name for name in _shards(listing) if not (component / name).is_file()):
            return f"lacks {len(gone)} files of its component {component.name!r}, such as {gone[0]}"
    return ""


def _shards(listing: Path) -> set[str]:
    try:
        return set(json.loads(listing.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()  # loading says what is wrong with it
