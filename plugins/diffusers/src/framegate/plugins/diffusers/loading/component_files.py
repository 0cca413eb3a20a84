"""Components from single files, as other tools store them."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch
from safetensors import SafetensorError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.planning.model_folder import read_index
from framegate.plugins.diffusers.requirements import INSTALL_SMALL


def load_component_files(
    folder: Path, files: Mapping[str, str], dtypes: Mapping[str, torch.dtype]
) -> dict[str, Any]:
    """Return the components that ``files`` name, each with the configuration that ``folder`` has for it.

    Raises:
        GenerationFailed: A file is missing, has the wrong format, or is made for another model.
    """
    index = read_index(folder)
    return {
        component: _load_file(folder, index, component, Path(file).expanduser(), dtypes)
        for component, file in files.items()
    }


def _load_file(
    folder: Path, index: Mapping[str, Any], component: str, file: Path, dtypes: Mapping[str, torch.dtype]
) -> Any:
    library, class_name = index.get(component) or (None, None)
    if library != "diffusers" or class_name is None:
        able = ", ".join(
            name for name, kind in index.items() if isinstance(kind, list) and kind[0] == "diffusers"
        )
        raise GenerationFailed(f"options.weights: {component!r} can't be loaded from a file; {able} can.")
    if not file.is_file():
        raise GenerationFailed(f"options.weights: there is no file {file.name!r} on this worker.")
    dtype = dtypes.get(component, dtypes["default"])
    extra: dict[str, Any] = {}
    if file.suffix == ".gguf":
        if find_spec("gguf") is None:
            raise GenerationFailed(f"{file.name} needs the package gguf on this worker; {INSTALL_SMALL}")
        extra["quantization_config"] = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    elif file.suffix != ".safetensors":
        raise GenerationFailed(f"options.weights: {file.name} is neither .safetensors nor .gguf.")
    try:
        return getattr(diffusers, class_name).from_single_file(
            str(file), config=str(folder), subfolder=component, dtype=dtype, local_files_only=True, **extra
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise GenerationFailed(
            f"options.weights: {file.name} does not fit {class_name} of this model ({type(error).__name__})."
        ) from error
