"""From a folder of weights to a pipeline that is ready to run."""

from collections.abc import Mapping
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import structlog
import torch
import transformers
from msgspec import Struct
from safetensors import SafetensorError

from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.cancellation import CancelPoints
from framegate.plugins.diffusers.loading.attention import set_attention_backend
from framegate.plugins.diffusers.loading.checkpoints import check_components
from framegate.plugins.diffusers.loading.compiling import (
    DEFAULT_CACHE,
    compile_blocks,
    set_compile_cache,
    should_compile,
)
from framegate.plugins.diffusers.loading.component_files import load_component_files
from framegate.plugins.diffusers.loading.loras import Adapters, apply_loras
from framegate.plugins.diffusers.loading.offloading import Offloader, modules_of
from framegate.plugins.diffusers.loading.placement import plan_placement
from framegate.plugins.diffusers.loading.probes import Decisions
from framegate.plugins.diffusers.loading.quantization import quantize, warn_without_compile
from framegate.plugins.diffusers.loading.vae import prepare_vae
from framegate.plugins.diffusers.options import DENOISERS, Lora, Options
from framegate.plugins.diffusers.planning.memory import ModelMemory
from framegate.plugins.diffusers.planning.model_folder import DECODER

log = structlog.get_logger(__name__)


class LoadedPipeline(Struct, frozen=True):
    """A pipeline with all its components in place.

    ``dtype`` is what its transformers compute in; ``adapters`` are the LoRAs beside a component's weights
    that are on all the time.
    """

    pipeline: Any
    attention: str
    dtype: torch.dtype
    offloader: Offloader
    adapters: Mapping[str, Adapters] = {}

    @property
    def denoisers(self) -> list[Any]:
        """The transformers (or the U-Net) that every step runs."""
        return denoisers_of(self.pipeline)


def denoisers_of(pipeline: Any) -> list[Any]:
    """Return the transformers (or the U-Net) of ``pipeline``."""
    return [model for name in DENOISERS if (model := getattr(pipeline, name, None)) is not None]


def load_pipeline(
    pipeline_class: type[Any],
    folder: Path,
    options: Options,
    device: torch.device,
    *,
    memory: ModelMemory,
    cancel_points: CancelPoints,
    switched_loras: Mapping[str, Lora],
) -> LoadedPipeline:
    """Load ``folder`` as ``pipeline_class``, with everything that ``options`` ask for.

    ``switched_loras`` are kept beside the weights by these names, for `loras.use_adapters` to switch them on.

    Raises:
        GenerationFailed: The files or an option are wrong.
        OutOfMemory: There is no room now; the message says how much is needed.
    """
    silence_logging()
    check_components(folder, replaced=options.weights)
    dtypes: dict[str, torch.dtype] = {name: getattr(torch, dtype) for name, dtype in memory.dtypes.items()}
    placement = plan_placement(options, memory, device)
    parts = load_component_files(folder, options.weights, dtypes)
    log.info("weights_loading", pipeline=pipeline_class.__name__, bytes=sum(memory.sizes.values()))
    try:
        pipeline = pipeline_class.from_pretrained(
            str(folder),
            dtype={name: dtype for name, dtype in dtypes.items() if name != DECODER},
            variant=options.variant or None,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            **parts,
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise GenerationFailed(
            f"The model {folder.name!r} can't be loaded as {pipeline_class.__name__}: its files are "
            f"incomplete or of another kind ({type(error).__name__})."
        ) from error
    pipeline.set_progress_bar_config(disable=True)
    default = dtypes["default"]
    adapters = apply_loras(pipeline, options, switched_loras, default)
    denoisers = denoisers_of(pipeline)
    home = torch.device("cpu") if placement.offload in ("model", "group") else device
    quantized = [quantize(model, options, device, default, home) for model in denoisers]
    decisions = Decisions(Path(options.compile_cache or DEFAULT_CACHE).expanduser())
    prepare_vae(pipeline, options, dtypes, device, decisions)
    offloader = Offloader(placement, device)
    offloader.take(modules_of(pipeline))
    compiled = should_compile(options, device)
    attention = set_attention_backend(
        denoisers,
        options,
        device,
        default,
        tokens=memory.attention_tokens,
        compiled=compiled,
        decisions=decisions,
    )
    if compiled:
        set_compile_cache(options)
        compile_blocks(*denoisers, on_fallback=partial(warn_without_compile, quantized))
    else:
        warn_without_compile(quantized)
    cancel_points.install(
        *(model for model in pipeline.components.values() if isinstance(model, torch.nn.Module))
    )
    return LoadedPipeline(pipeline, attention, default, offloader, adapters)


def share_components(pipeline_class: type[Any], pipeline: Any, **changes: Any) -> Any:
    """Return a pipeline of another class over the components of ``pipeline``.

    ``changes`` replace some of them. What the class doesn't take is left out.
    """
    accepted = signature(pipeline_class).parameters.keys()
    values = {**pipeline.components, **changes}
    shared = pipeline_class(**{name: value for name, value in values.items() if name in accepted})
    shared.set_progress_bar_config(disable=True)
    return shared


def silence_logging() -> None:
    """Switch off progress bars and hints for authors of pipelines: the worker's log is JSON."""
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
