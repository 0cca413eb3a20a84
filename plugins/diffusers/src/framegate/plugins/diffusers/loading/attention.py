"""Which kernel computes attention."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from importlib.util import find_spec
from typing import Any

import structlog
import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName

from framegate.plugins.diffusers.loading.attention_probe import (
    NATIVE,
    AttentionShape,
    MaskKind,
    attention_shape,
    check_compiles,
    check_runs,
    describe,
    fastest_backend,
    mask_kind,
    refused_masks,
)
from framegate.plugins.diffusers.loading.hub_kernels import KernelUnavailableError, load_hub_kernel
from framegate.plugins.diffusers.loading.probes import Decisions, describe_card, stopwatch
from framegate.plugins.diffusers.memory import release
from framegate.plugins.diffusers.options import Options

_dispatch: Any = attention_dispatch  # what is needed of it has underscores
_REGISTRY: Any = _dispatch._AttentionBackendRegistry
log = structlog.get_logger(__name__)


def set_attention_backend(
    models: Sequence[Any],
    options: Options,
    device: torch.device,
    dtype: torch.dtype,
    *,
    tokens: int,
    compiled: bool,
    decisions: Decisions,
) -> str:
    """Set the attention backend of ``models`` and return its name.

    "auto" is the fastest exact one for ``tokens`` tokens, which the blocks' compiler takes if they will be
    ``compiled``. Where the requested one can't run, it is PyTorch's own; so it is for single calls that a
    backend refuses, as most refuse masks.
    """
    requested = options.attention
    if not any(_dispatches(model) for model in models):
        if requested not in ("auto", NATIVE):
            why = "this model's attention is always PyTorch's own"
            log.info("option_unused", option="attention", requested=requested, why=why)
        return NATIVE
    shape = attention_shape(models, tokens, dtype)
    if requested == "auto":
        chosen, why = choose_backend(shape, options, device, compiled=compiled, decisions=decisions)
    else:
        chosen, why = str(requested), "requested"
    # One that was measured has been compiled, too.
    compiled = compiled and requested not in ("auto", NATIVE)
    if reason := _why_unusable(chosen, shape, options, device, compiled=compiled):
        log.warning("option_unused", option="attention", requested=chosen, why=reason)
        chosen, why = NATIVE, f"{chosen} can't run here"
    with _default_kept():
        for model in models:
            model.set_attention_backend(chosen)
    log.info("attention_chosen", backend=chosen, why=why)
    return chosen


def prepare_backend(name: str, shape: AttentionShape, options: Options, device: torch.device) -> None:
    """Load backend ``name``, run it once, and send the calls that it refuses to PyTorch's own.

    Raises:
        Exception: It can't run on this device, at this shape, or with these packages.
    """
    _dispatch._check_attention_backend_requirements(AttentionBackendName(name))
    load_hub_kernel(name, options, device)
    check_runs(name, device, shape)
    if name == NATIVE or (refused := refused_masks(name, device, shape)) == frozenset():
        return
    _send_masks_to_native(AttentionBackendName(name), refused)
    log.info("attention_masks", backend=name, why="calls with a mask that it refuses use PyTorch's kernel")


def _why_unusable(
    name: str, shape: AttentionShape, options: Options, device: torch.device, *, compiled: bool
) -> str:
    """Return why backend ``name`` can't be used here, in blocks that are ``compiled``; "" if it can."""
    try:
        prepare_backend(name, shape, options, device)
    except Exception as error:  # kernels raise whatever their authors chose
        if device.type != "cuda" and not isinstance(error, KernelUnavailableError):
            return f"{name} needs CUDA and the device is {device.type}"
        return describe(error)
    if not compiled:
        return ""
    try:
        check_compiles(name, device, shape)
    except Exception as error:  # likewise
        return (
            f"the blocks will be compiled, and the compiler can't take {name} ({describe(error)}); "
            "set options.compile to false to use it"
        )
    return ""


def exact_backends(
    capability: tuple[int, int], *, cudnn: bool, flash_3: bool, kernels: bool
) -> tuple[str, ...]:
    """Return the exact backends to try on a CUDA card of compute ``capability``, the likeliest first.

    ``cudnn``: PyTorch has it; ``flash_3``, ``kernels``: FlashAttention 3, or the package that loads it from
    the hub, is installed.
    """
    hopper, ampere = capability[0] == 9, capability >= (8, 0)
    offered = {
        "_flash_3": flash_3 and hopper,
        "_flash_3_hub": kernels and hopper,
        "_native_cudnn": cudnn and ampere,
        "_native_flash": ampere,
        NATIVE: True,
    }
    return tuple(name for name, possible in offered.items() if possible)


def choose_backend(
    shape: AttentionShape, options: Options, device: torch.device, *, compiled: bool, decisions: Decisions
) -> tuple[str, str]:
    """Return the fastest exact backend for ``device``, and the reason."""
    if device.type != "cuda":
        return NATIVE, f"the device is {device.type}"
    if shape.dtype not in (torch.bfloat16, torch.float16):
        return NATIVE, f"{shape.dtype} is only computed by the native kernel"
    candidates = exact_backends(
        torch.cuda.get_device_capability(device),
        cudnn=bool(torch.backends.cudnn.is_available()),  # type: ignore[no-untyped-call] # untyped in torch
        flash_3=find_spec("flash_attn_interface") is not None,
        kernels=find_spec("kernels") is not None,
    )
    source = options.attention_kernels or options.attention_revision
    key = f"attention: {candidates}, {source}, {shape}, compiled {compiled}; {describe_card(device)}"
    known = decisions.get(key)
    if known is not None and known in candidates:
        return known, "measured at an earlier start"
    try:
        compared = fastest_backend(
            candidates,
            shape,
            device,
            stopwatch(device),
            prepare=partial(prepare_backend, shape=shape, options=options, device=device),
            compiled=compiled,
        )
    except (RuntimeError, MemoryError) as error:
        return NATIVE, f"nothing could be measured: {describe(error)}"
    finally:
        release(device)
    if compared.lasting:
        decisions.put(key, compared.fastest)
    return compared.fastest, "measured"


def _send_masks_to_native(backend: AttentionBackendName, refused: frozenset[MaskKind]) -> None:
    """Let PyTorch's own attention compute the calls of ``backend`` with masks of a ``refused`` kind.

    Another model's may be others, as its heads and its dtype are; what any of them refuses is sent for all.
    """
    kernel, native = _REGISTRY._backends[backend], _REGISTRY._backends[AttentionBackendName.NATIVE]
    kinds: set[MaskKind] | None = getattr(kernel, "refused", None)
    if kinds is not None:
        kinds |= refused
        return
    kinds = set(refused)
    taken: set[str] = _REGISTRY._supported_arg_names[backend]
    taken_by_native: set[str] = _REGISTRY._supported_arg_names[AttentionBackendName.NATIVE]

    @wraps(kernel)
    def kernel_or_native(attn_mask: torch.Tensor | None = None, **named: Any) -> Any:
        if attn_mask is not None and mask_kind(attn_mask) in kinds:
            return native(
                attn_mask=attn_mask, **{name: each for name, each in named.items() if name in taken_by_native}
            )
        return kernel(attn_mask=attn_mask, **{name: each for name, each in named.items() if name in taken})

    kernel_or_native.refused = kinds  # type: ignore[attr-defined] # kept with what reads it
    _REGISTRY._backends[backend] = kernel_or_native
    _REGISTRY._supported_arg_names[backend] = taken | taken_by_native


@contextmanager
def _default_kept() -> Generator[None]:
    """Keep the backend of attention that has none of its own.

    diffusers would also set that of every other model in the process, such as LTX-2's text connectors, whose
    masks the fast kernels refuse.
    """
    default, _ = _REGISTRY.get_active_backend()
    try:
        yield
    finally:
        _REGISTRY.set_active_backend(default)


def _dispatches(model: Any) -> bool:
    """Return whether any attention of ``model`` asks diffusers for its backend."""
    return any(
        hasattr(getattr(module, "processor", None), "_attention_backend") for module in model.modules()
    )
