"""From a folder of weights to a pipeline that is ready to work."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import structlog
import torch
import transformers
from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.attention import use_attention
from framegate.plugins.diffusers.cancellation import CancelPoints
from framegate.plugins.diffusers.checkpoints import count_parameters, parameters_in
from framegate.plugins.diffusers.compiling import compile_blocks, compile_wanted, keep_compiled
from framegate.plugins.diffusers.loras import merge_loras
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.placement import Placement, place, placed
from framegate.plugins.diffusers.quantization import quantize
from framegate.plugins.diffusers.weights import from_files

log = structlog.get_logger(__name__)

DENOISERS = ("transformer", "transformer_2", "unet")
QUANTIZED_SHARE = 0.52
"""What is left of a transformer in eight bits, with what stays as it was."""


class Loaded(Struct, frozen=True):
    """``pipeline`` holds all components, in their place; ``dtype`` is what its transformers compute in."""

    pipeline: Any
    placement: Placement
    attention: str
    dtype: torch.dtype

    @property
    def denoisers(self) -> list[Any]:
        """The transformers (or the UNet) that every step runs."""
        return [model for name in DENOISERS if (model := getattr(self.pipeline, name, None)) is not None]


def dtypes_of(options: Options, device: torch.device, precise: Mapping[str, str]) -> dict[str, torch.dtype]:
    """The dtype of each component; "default" is that of those not named.

    ``precise`` names what a family keeps in another one on CUDA ({"vae": "float32"}); on the CPU everything
    is float32 unless the options say otherwise.
    """
    on_cuda = device.type == "cuda"
    if options.dtype != "auto":
        default = getattr(torch, options.dtype)
    else:
        default = torch.bfloat16 if on_cuda else torch.float32
    dtypes = {"default": default}
    for component, name in precise.items():
        dtypes[component] = getattr(torch, name) if on_cuda or options.dtype != "auto" else torch.float32
    if options.vae_dtype != "auto":
        dtypes["vae"] = getattr(torch, options.vae_dtype)
    return dtypes


def sizes_of(folder: Path, options: Options, dtypes: Mapping[str, torch.dtype]) -> dict[str, int]:
    """The bytes of each component as it will be kept."""
    sizes = {
        component: count * dtypes.get(component, dtypes["default"]).itemsize
        for component, count in count_parameters(folder, options.variant).items()
    }
    for component, name in options.weights.items():
        file = Path(name).expanduser()
        if file.suffix == ".gguf" and file.is_file():
            sizes[component] = file.stat().st_size
        elif file.suffix == ".safetensors" and file.is_file():
            sizes[component] = parameters_in(file) * dtypes.get(component, dtypes["default"]).itemsize
    if options.quantize != "none":
        for component in sizes.keys() & set(DENOISERS):
            sizes[component] = int(sizes[component] * QUANTIZED_SHARE)
    return sizes


def load_pipeline(
    pipeline_class: type[Any],
    folder: Path,
    options: Options,
    device: torch.device,
    *,
    dtypes: Mapping[str, torch.dtype],
    headroom: int,
    cancel_points: CancelPoints,
    extra: Mapping[str, Any] | None = None,
) -> Loaded:
    """Load ``folder`` as ``pipeline_class``, with everything that ``options`` say; ``extra`` goes to its
    ``from_pretrained``.

    Raises:
        GenerationFailed: what is wrong with the files or the options.
        OutOfMemory: there is no room now; says what it needs.
    """
    silence_logging()
    sizes = sizes_of(folder, options, dtypes)
    placement = placed(options, sizes, device, headroom)
    parts = from_files(folder, options.weights, dtypes)
    log.info("weights_loading", pipeline=pipeline_class.__name__, bytes=sum(sizes.values()))
    try:
        pipeline = pipeline_class.from_pretrained(
            str(folder),
            dtype=dict(dtypes),
            variant=options.variant or None,
            local_files_only=True,
            **parts,
            **(extra or {}),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GenerationFailed(
            f"The model {folder.name!r} can't be loaded as {pipeline_class.__name__}: its files are not "
            f"complete, or of another kind ({type(error).__name__})."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    merge_loras(pipeline, options)
    default = dtypes["default"]
    denoisers = Loaded(pipeline, placement, "", default).denoisers
    for model in denoisers:
        quantize(model, options, device, default)
    place(pipeline, placement, device)
    attention = use_attention(denoisers, options.attention, device, default)
    if compile_wanted(options, device, placement.offload):
        keep_compiled(options)
        for model in denoisers:
            compile_blocks(model, whole=options.quantize != "fp8-layerwise")
    cancel_points.install(
        *(model for model in pipeline.components.values() if isinstance(model, torch.nn.Module))
    )
    return Loaded(pipeline, placement, attention, default)


def silence_logging() -> None:
    """No progress bars, and no hints for people who write pipelines: the worker's log is JSON."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
