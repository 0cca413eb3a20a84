"""LoRAs: merged into the weights before those are quantised, or beside weights that are quantised already."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import structlog
import torch
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.loading.checkpoints import CONVERT
from framegate.plugins.diffusers.options import Lora, Options, is_gguf

log = structlog.get_logger(__name__)


Adapters: TypeAlias = Mapping[str, float]
"""LoRAs beside a model's weights, by name, with their strengths."""


def apply_loras(
    pipeline: Any, options: Options, switched: Mapping[str, Lora], dtype: torch.dtype
) -> dict[str, Adapters]:
    """Merge every LoRA of ``options`` into the pipeline's transformers, which takes no time afterwards.

    Weights from a ``.gguf`` file have no room for it: there it stays beside them, computed in ``dtype``.
    Those that are ``switched`` on and off by their names stay beside any weights, and are off.

    Returns:
        The adapters of each component that are on all the time.

    Raises:
        GenerationFailed: One can't be found, or is made for another model.
    """
    named = {f"lora_{number}": lora for number, lora in enumerate(options.loras)}
    beside = {name: lora for name, lora in named.items() if is_gguf(options, lora.component)}
    for name, lora in named.items():
        if name in beside:
            continue
        load_lora(pipeline, lora, name, options)
        # Only the component that has it: diffusers would warn about the others.
        pipeline.fuse_lora(components=[lora.component], lora_scale=lora.strength, adapter_names=[name])
        pipeline.unload_lora_weights()
        _log(lora, merged=True)
    always: dict[str, dict[str, float]] = {}
    for name, lora in {**beside, **switched}.items():
        load_lora(pipeline, lora, name, options)
        _compute_in(getattr(pipeline, lora.component), dtype)
        if name in beside:
            always.setdefault(lora.component, {})[name] = lora.strength
        _log(lora, merged=False)
    if beside or switched:
        pipeline.disable_lora()
    for component, adapters in always.items():
        use_adapters(getattr(pipeline, component), adapters)
    return {**always}


def use_adapters(model: Any, adapters: Adapters) -> None:
    """Switch on just those ``adapters`` of a transformer."""
    if adapters:
        model.enable_lora()
        model.set_adapters(list(adapters), list(adapters.values()))
    else:
        model.disable_lora()


def _compute_in(model: Any, dtype: torch.dtype) -> None:
    """Give the LoRAs of ``model`` a dtype: beside GGUF weights they would keep that of their file."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer):
            layer.lora_A.to(dtype)
            layer.lora_B.to(dtype)


def _log(lora: Lora, *, merged: bool) -> None:
    log.info(
        "lora_loaded",
        lora=_label(lora),
        strength=lora.strength,
        component=lora.component,
        merged=merged,
    )


def load_lora(pipeline: Any, lora: Lora, name: str, options: Options) -> None:
    """Load ``lora`` beside the weights, as the adapter ``name``.

    Raises:
        GenerationFailed: It can't be found, or is made for another model.
    """
    extra: dict[str, Any] = {"local_files_only": True} if options.offline else {}
    if lora.component == "transformer_2":
        extra["load_into_transformer_2"] = True
    source = Path(lora.source).expanduser()
    location = str(source) if source.exists() else lora.source
    if lora.weight_name:
        extra["weight_name"] = lora.weight_name
    if lora.revision:
        extra["revision"] = lora.revision
    if (lora.weight_name or source.is_file()) and not _label(lora).endswith(".safetensors"):
        raise GenerationFailed(f"The LoRA {_label(lora)!r} is not a .safetensors file; {CONVERT}.")
    try:
        pipeline.load_lora_weights(location, adapter_name=name, use_safetensors=True, **extra)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise GenerationFailed(
            f"The LoRA {_label(lora)!r} can't be loaded: it is missing, or made for another model "
            f"({type(error).__name__})."
        ) from error
    if not any(name in adapters for adapters in pipeline.get_list_adapters().values()):
        raise GenerationFailed(f"The LoRA {_label(lora)!r} has no weights for this model.")


def _label(lora: Lora) -> str:
    """Return its file name, without the worker's folders."""
    return lora.weight_name or Path(lora.source).name
