"""A model's files: where they lie, and how large they are."""

import json
import math
import struct
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.options import Options

INDEX = "model_index.json"
MAX_HEADER = 100_000_000
"""Bytes; the format's own limit."""


def fetch(source: str, options: Options) -> Path:
    """The folder of ``source``, downloaded first where it is a hub id.

    Raises:
        GenerationFailed: it is neither a folder in diffusers' layout nor a repository that can be had.
    """
    folder = Path(source).expanduser()
    if local_folder(source) is not None:
        if not (folder / INDEX).is_file():
            raise GenerationFailed(
                f"The folder {folder.name!r} has no {INDEX}: the source has to be in diffusers' layout "
                "(repositories that end in -Diffusers are)."
            )
        return folder
    if folder.is_absolute() or source.startswith((".", "~")):
        raise GenerationFailed(f"There is no folder {folder.name!r} on this worker.")
    try:
        return Path(
            DiffusionPipeline.download(
                source,
                revision=options.revision or None,
                variant=options.variant or None,
                local_files_only=options.offline,
            )
        )
    except LocalEntryNotFoundError as error:
        raise GenerationFailed(
            f"The model {source!r} is not on this worker, and the hub can't be reached (or options.offline "
            "is set)."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise GenerationFailed(
            f"The hub does not give the model {source!r}: its name is wrong, or it needs a login "
            f"({type(error).__name__})."
        ) from error


def local_folder(source: str) -> Path | None:
    """``source`` where it is a folder; a hub id's own is known once it was fetched."""
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else None


def index_of(folder: Path) -> dict[str, Any]:
    """``model_index.json``: the pipeline's class, its components and its configuration.

    Raises:
        GenerationFailed: it is not readable.
    """
    try:
        return dict(json.loads((folder / INDEX).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise GenerationFailed(f"The {INDEX} of the model can't be read.") from error


def config_of(folder: Path, component: str) -> dict[str, Any]:
    """The ``config.json`` of a component; empty where it has none."""
    path = folder / component / "config.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def count_parameters(folder: Path, variant: str = "") -> dict[str, int]:
    """How many parameters each component has, read from the headers of its safetensors files."""
    counts: dict[str, int] = {}
    for file in folder.glob("*/*.safetensors"):
        name, _, of_variant = file.stem.split("-0")[0].partition(".")  # without the shard's number
        if name and of_variant == variant:
            counts[file.parent.name] = counts.get(file.parent.name, 0) + parameters_in(file)
    return counts


def parameters_in(file: Path) -> int:
    """Raises:
    GenerationFailed: it is no safetensors file.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header: dict[str, Any] = json.loads(opened.read(min(length, MAX_HEADER)))
    except (struct.error, ValueError, OSError) as error:
        raise GenerationFailed(
            f"The weights in {file.name} can't be read; the file is not complete."
        ) from error
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
