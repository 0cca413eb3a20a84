"""A model's folder: its index, the configurations of its components, and the sizes of their weights."""

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from framegate.core.errors import GenerationFailed
from framegate.core.hub_cache import cached_snapshot
from framegate.plugins.diffusers.options import DENOISERS, Lora, Options

INDEX = "model_index.json"
"""The file that makes a folder a model in diffusers' layout."""
MAX_HEADER = 100_000_000
"""Bytes of a safetensors header; the format's own limit."""
DECODER = "vae_decode"
"""The key in `dtype_names` of what the VAE decodes in."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Of a number in each dtype."""
_QUANTIZED_SHARE = 0.52
"""The size of an eight-bit transformer beside the full one; some of it is not quantised."""
_UNKNOWN_LORA_SHARE = 0.21
"""What a LoRA that isn't on this host yet is taken for, beside its transformer: the largest known one,
LTX-2's distillation LoRA of rank 384, has 7.7 of 37.8 GB."""


def read_index(folder: Path) -> dict[str, Any]:
    """Return ``model_index.json``: the pipeline's class, its components and its configuration.

    Raises:
        GenerationFailed: The file can't be read.
    """
    return _read_object(folder / INDEX, f"The {INDEX} of the model")


def read_config(folder: Path, component: str) -> dict[str, Any]:
    """Return the ``config.json`` of a component, empty if it has none.

    Raises:
        GenerationFailed: The file can't be read.
    """
    path = folder / component / "config.json"
    return _read_object(path, f"The model's {component}/config.json") if path.is_file() else {}


def _read_object(path: Path, what: str) -> dict[str, Any]:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GenerationFailed(f"{what} can't be read.") from error
    if not isinstance(value, dict):
        raise GenerationFailed(f"{what} holds no JSON object.")
    return cast("dict[str, Any]", value)


def dtype_names(options: Options, precise: Mapping[str, str], *, on_cuda: bool) -> dict[str, str]:
    """Return the dtype of each component; "default" is that of the components not named.

    ``precise`` names those that a family keeps in another dtype on CUDA, such as ``{"vae": "float32"}``. On
    the CPU everything is float32 unless the options say otherwise. What is said of CUDA holds for Apple's
    GPUs as well. `DECODER` is what the VAE decodes in.
    """
    default = options.dtype
    if default == "auto":
        default = "bfloat16" if on_cuda else "float32"
    dtypes: dict[str, str] = {"default": default}
    for component, name in precise.items():
        dtypes[component] = name if on_cuda or options.dtype != "auto" else "float32"
    if options.vae_dtype != "auto":
        dtypes["vae"] = options.vae_dtype
    dtypes[DECODER] = dtypes.get("vae", default)
    if options.vae_decode_dtype != "auto":
        dtypes[DECODER] = options.vae_decode_dtype
    return dtypes


def component_sizes(folder: Path, options: Options, dtypes: Mapping[str, str]) -> dict[str, int]:
    """Return the bytes of each component as it will be kept.

    ``dtypes`` are those of `dtype_names`.
    """

    def size(component: str, parameters: int) -> int:
        return parameters * BYTES[dtypes.get(component, dtypes["default"])]

    named = read_index(folder)
    sizes = {
        component: size(component, count)
        for component, count in count_parameters(folder, options.variant).items()
        if component in named
    }
    for component, name in options.weights.items():
        file = Path(name).expanduser()
        if file.suffix == ".gguf" and file.is_file():
            sizes[component] = file.stat().st_size
        elif file.suffix == ".safetensors" and file.is_file():
            sizes[component] = size(component, count_file_parameters(file))
    if options.quantize != "none":
        for component in sizes.keys() & set(DENOISERS):
            sizes[component] = int(sizes[component] * _QUANTIZED_SHARE)
    return sizes


def count_parameters(folder: Path, variant: str = "") -> dict[str, int]:
    """Return how many parameters each component has, from the headers of its safetensors files."""
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    for file in folder.glob("*/*.safetensors"):
        stem, shard, _ = file.stem.partition("-0")
        name, _, of_variant = stem.partition(".")
        if name and of_variant == variant:
            of_component = counts.setdefault(file.parent.name, Counter())
            of_component[name, bool(shard)] += count_file_parameters(file)
    # Of a whole file and shards beside it, one is loaded.
    return {component: max(of_component.values()) for component, of_component in counts.items()}


def count_file_parameters(file: Path) -> int:
    """Return how many parameters a safetensors file holds.

    Raises:
        GenerationFailed: It is not a complete safetensors file.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, MAX_HEADER)))
        return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (struct.error, ValueError, OSError, AttributeError, KeyError, TypeError) as error:
        raise GenerationFailed(
            f"The weights in {file.name} can't be read: the file is incomplete, or no safetensors file."
        ) from error


def lora_size(lora: Lora, transformer: int) -> int:
    """Return the bytes of a LoRA that stays beside a transformer of ``transformer`` bytes."""
    source = Path(lora.source).expanduser()
    folder = source if source.exists() else cached_snapshot(lora.source)
    if folder is not None:
        file = folder / lora.weight_name if folder.is_dir() else folder
        if file.is_file():
            return file.stat().st_size
    return int(transformer * _UNKNOWN_LORA_SHARE)
