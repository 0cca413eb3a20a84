"""A model's files: where they are, how large, and that they hold nothing but data."""

import os
from collections.abc import Container
from pathlib import Path
from typing import Any

from diffusers import DiffusionPipeline, pipelines
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.model_folder import INDEX, read_index

_NO_CODE = "Only classes of diffusers and transformers are loaded, never code that comes with a model."

PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})
"""Suffixes of weights that are Python pickles, which run code when they are loaded."""
CONVERT = (
    "such a file can run code when it is loaded, so it never is. Convert it once where you trust it: "
    "`safetensors.torch.save_file(torch.load(FILE, weights_only=True), FILE.safetensors)`, or "
    "`save_pretrained(FOLDER, safe_serialization=True)` for a whole model"
)


def fetch(source: str, options: Options) -> Path:
    """Return the folder of ``source``, downloading it first if it is a hub id.

    Raises:
        GenerationFailed: It is neither a folder in diffusers' layout nor a repository that can be fetched.
    """
    folder = Path(source).expanduser()
    if local_folder(source) is not None:
        if not (folder / INDEX).is_file():
            raise GenerationFailed(
                f"The folder {folder.name!r} has no {INDEX}; the source has to be in diffusers' layout "
                "(as repositories whose name ends in -Diffusers are)."
            )
        return folder
    if folder.is_absolute() or source.startswith((".", "~")):
        raise GenerationFailed(f"There is no folder {folder.name!r} on this worker.")
    try:
        return Path(
            os.fspath(
                DiffusionPipeline.download(
                    source,
                    revision=options.revision or None,
                    variant=options.variant or None,
                    local_files_only=options.offline,
                    use_safetensors=True,
                    trust_remote_code=False,
                )
            )
        )
    except LocalEntryNotFoundError as error:
        raise GenerationFailed(
            f"The model {source!r} is not on this worker, and the hub can't be reached (or options.offline "
            "is set)."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        if "safetensors" in str(error):
            raise GenerationFailed(
                f"The model {source!r} has weights that are not in the safetensors format; {CONVERT}."
            ) from error
        raise GenerationFailed(
            f"The model {source!r} can't be downloaded: its name is wrong, or it needs a login "
            f"({type(error).__name__})."
        ) from error


def local_folder(source: str) -> Path | None:
    """Return ``source`` as a path if it is a folder, else None."""
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else None


def check_components(folder: Path, replaced: Container[str] = ()) -> None:
    """Check that a model is made of diffusers' and transformers' own classes, with weights as safetensors.

    Components that are ``replaced`` by other files are not looked at.

    Raises:
        GenerationFailed: It would run code of its own.
    """
    for component, entry in read_index(folder).items():
        if component == "_class_name" and not isinstance(entry, str):
            raise GenerationFailed(
                f"The model {folder.name!r} has a pipeline of its own in Python. {_NO_CODE}"
            )
        if component.startswith("_") or component in replaced:
            continue
        library = _library(entry)
        if library is not None and not _is_own_library(library):
            raise GenerationFailed(
                f"The component {component!r} of the model {folder.name!r} is a class of {library!r}. "
                f"{_NO_CODE}"
            )
        suffixes = {file.suffix for file in (folder / component).glob("*")}
        if suffixes & PICKLES and ".safetensors" not in suffixes:
            raise GenerationFailed(
                f"The component {component!r} of the model {folder.name!r} has its weights in a pickle "
                f"({min(suffixes & PICKLES)}); {CONVERT}."
            )


def _library(entry: Any) -> str | None:
    """Return the library of a component's class; None for a setting, and for a component that is left out."""
    match entry:
        case [str(library), *_]:
            return library
        case _:
            return None


def _is_own_library(library: str) -> bool:
    return library in ("diffusers", "transformers") or hasattr(pipelines, library)
