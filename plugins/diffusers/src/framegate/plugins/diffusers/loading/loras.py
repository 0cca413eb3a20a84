"""LoRAs, merged into the weights before those are quantised."""

from pathlib import Path
from typing import Any

import structlog
from safetensors import SafetensorError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.loading.checkpoints import CONVERT
from framegate.plugins.diffusers.options import Lora, Options

log = structlog.get_logger(__name__)


def merge_loras(pipeline: Any, options: Options) -> None:
    """Merge every LoRA of ``options`` into the pipeline's transformers.

    Raises:
        GenerationFailed: One can't be found, or is made for another model.
    """
    for number, lora in enumerate(options.loras):
        name = f"lora_{number}"
        load_lora(pipeline, lora, name, options)
        # Only the component that has it: diffusers would warn about the others.
        pipeline.fuse_lora(components=[lora.component], lora_scale=lora.strength, adapter_names=[name])
        pipeline.unload_lora_weights()
        log.info("lora_merged", lora=_label(lora), strength=lora.strength, component=lora.component)


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
