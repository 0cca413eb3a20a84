"""Which files of a hub's repositories are needed: those that diffusers would download, chosen without it."""

import re
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from framegate.core.errors import GenerationFailed

Read = Callable[[str], bytes]
"""Returns the content of a file of the repository."""

_INDEX = "model_index.json"
STEM = "(diffusion_pytorch_model|model|weights|pytorch_model)"
SUFFIX = "(safetensors|bin|onnx|pb)"
SHARD = r"\d{5}-of-\d{5}"
_WEIGHTS = re.compile(rf"{STEM}(-{SHARD})?\.{SUFFIX}$")
_WEIGHTS_INDEX = re.compile(rf"{STEM}\.{SUFFIX}\.index\.json")
_HOLDS_WEIGHTS = ("bin", "safetensors", "onnx", "pb", "flashpack")
"""How the names of files end whose folder counts as one of weights."""
_IGNORED = ("bin", "msgpack", "onnx", "pb")
"""How the names of weights end that are not safetensors."""
_IN_ROOT = frozenset(
    {
        _INDEX,
        "config.json",
        "scheduler_config.json",
        "pipeline.py",
        "chat_template.jinja",
        "generation_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
)
_NOT_A_LORA = ("scheduler", "optimizer", "checkpoint")
_UPSAMPLER = "latent_upsampler/"


def pipeline_files(names: Collection[str], read: Read, *, variant: str = "") -> Collection[str]:
    """Return the files of a pipeline: what `DiffusionPipeline.download` chooses with ``use_safetensors``.

    Raises:
        GenerationFailed: The repository is not in diffusers' layout, or lacks weights as safetensors.
    """
    if _INDEX not in names:
        raise GenerationFailed(
            f"it has no {_INDEX}; it has to be in diffusers' layout (as repositories whose name ends in "
            "-Diffusers are)"
        )
    try:
        index = msgspec.json.decode(read(_INDEX), type=dict[str, Any])
        names = set(names) - msgspec.convert(index.get("_ignore_files", []), set[str])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise GenerationFailed(f"its {_INDEX} is damaged") from None
    folders = {name for name, entry in index.items() if isinstance(entry, list) and name != "_class_name"}
    with_weights = {_folder(name) for name in names if name.endswith(_HOLDS_WEIGHTS)} & folders
    weights = _weights(names, variant)
    for folder in sorted(with_weights):
        if not any(name.endswith(".safetensors") for name in weights if _folder(name) == folder):
            raise GenerationFailed(f"its {folder} has no weights in the safetensors format")
    whole = tuple(f"{folder}/" for folder in folders - with_weights)
    wanted = weights | _IN_ROOT | {f"{folder}/config.json" for folder in with_weights}
    return sorted(
        name for name in names if (name in wanted or name.startswith(whole)) and not _is_ignored(name)
    )


def lora_files(names: Collection[str], read: Read, *, weight_name: str = "") -> Collection[str]:
    """Return the file of a LoRA: the one that is named, or the one that diffusers would guess.

    Raises:
        GenerationFailed: The repository has no such file.
    """
    if weight_name:
        if weight_name not in names:
            raise GenerationFailed(f"it has no file {weight_name}")
        return [weight_name]
    found = [
        name
        for name in names
        if name.endswith(".safetensors") and not any(part in name for part in _NOT_A_LORA)
    ]
    usual = [name for name in found if name.endswith("pytorch_lora_weights.safetensors")]
    if not found:
        raise GenerationFailed("it has no .safetensors file")
    return (usual or found)[:1]


def upsampler_files(names: Collection[str], read: Read) -> Collection[str]:
    """Return the files of LTX-2's latent upsampler.

    Raises:
        GenerationFailed: The repository has none.
    """
    below = {name for name in names if name.startswith(_UPSAMPLER)}
    found = [name for name in _weights(below, "") if "safetensors" in name]
    if not found:
        raise GenerationFailed(f"it has no {_UPSAMPLER}")
    return sorted({*found, f"{_UPSAMPLER}config.json"} & below)


def _is_ignored(name: str) -> bool:
    """Return whether a file holds weights in another format than safetensors, or is the index of such."""
    for suffix in _IGNORED:
        _, index, rest = name.partition(f".{suffix}.index.")
        if name.endswith(f".{suffix}") or (index and rest.endswith("json")):
            return True
    return False


def _weights(names: Collection[str], variant: str) -> set[str]:
    """Return the weights of each folder, of the variant where the folder has it, and their indexes."""
    name_of_variant = re.escape(variant)
    of_variant = re.compile(rf"{STEM}\.{name_of_variant}(-{SHARD})?\.{SUFFIX}$")
    index_of_variant = re.compile(rf"{STEM}\.{SUFFIX}\.index\.{name_of_variant}\.json$")
    legacy = re.compile(rf"-{SHARD}\.{name_of_variant}\.[a-z]+$")
    legacy_index = re.compile(rf"{STEM}\.{SUFFIX}\.{name_of_variant}\.index\.json$")
    folders: dict[str, list[str]] = {}
    for name in names:
        if not name.endswith(("bin", "msgpack", "onnx", "pb")):
            folders.setdefault(_folder(name) if name.count("/") == 1 else "", []).append(name)
    usable: set[str] = set()
    found_variant = False
    for files in folders.values():
        chosen: set[str] = set()
        if variant:
            chosen = _matching(files, of_variant)
            indexes = _matching(files, index_of_variant)
            if not chosen:
                chosen = {name for name in files if legacy.search(name)}
                indexes = _matching(files, legacy_index)
            found_variant = found_variant or bool(chosen)
            chosen = chosen | indexes if chosen else chosen
        usable |= chosen or _matching(files, _WEIGHTS) | _matching(files, _WEIGHTS_INDEX)
    if variant and not found_variant:
        raise GenerationFailed(f"it has no weights of the variant {variant!r}")
    return usable


def _matching(names: Collection[str], pattern: re.Pattern[str]) -> set[str]:
    return {name for name in names if pattern.match(name.rpartition("/")[2])}


def _folder(name: str) -> str:
    return name.rpartition("/")[0]
