"""Compile the blocks that transformers repeat, each kind once."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from shutil import which
from tempfile import TemporaryFile
from types import FunctionType, MethodType
from typing import Any, cast

import structlog
import torch
from torch import nn

from framegate.plugins.diffusers.memory import is_out_of_memory
from framegate.plugins.diffusers.options import Options

DEFAULT_CACHE = Path("~/.cache/framegate/compiled")
"""Where compiled code is kept unless ``options.compile_cache`` names a folder."""
MAX_GRAPHS = 64
"""Graphs of one kind of block. All sizes share theirs; what needs another is a tensor that has one row or is
left out (without guidance, without an image, without the LoRA), and these are a handful."""
log = structlog.get_logger(__name__)


def should_compile(options: Options, device: torch.device) -> bool:
    """Return whether to compile the blocks; where that was requested but can't be done, log the reason."""
    if options.compile is False:
        return False
    if device.type != "cuda":
        why = f"the device is {device.type}, not CUDA"
    elif which("cc") is None and which("gcc") is None and "CC" not in os.environ:
        why = "there is no C compiler on this worker"
    elif torch.cuda.get_device_capability(device) < (7, 0):
        why = "the card is older than compute capability 7.0"
    else:
        return True
    if options.compile is True or device.type == "cuda":
        log.info("option_unused", option="compile", why=why)
    return False


def set_compile_cache(options: Options) -> Path | None:
    """Make PyTorch keep what it compiles across processes, and return the folder.

    Where nothing can be written to it, it is None, and each process compiles for itself.
    """
    folder = Path(options.compile_cache or DEFAULT_CACHE).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        why = f"nothing can be written to the folder ({error.strerror}); what is compiled isn't kept"
        log.warning("option_unused", option="compile_cache", why=why)
        return None
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")
    return folder


def compile_blocks(
    *models: Any,
    backend: str | Callable[..., Any] = "inductor",
    on_fallback: Callable[[], object] = lambda: None,
) -> int:
    """Compile the ``forward`` of every block that ``models`` repeat, and return how many blocks there are.

    The forward and not the module: hooks (cancel points, step caches) stay outside of what is compiled. All
    sizes run through the same graph, so a job's result doesn't depend on the jobs before it.

    ``models`` are the transformers of one loaded model. If a block of theirs can't be compiled, all of them
    run uncompiled from then on, with a warning, after which ``on_fallback`` is called; the call that failed
    is made again and returns its result.
    `restore_eager` is the inverse.
    """
    from torch._dynamo import config as tracing
    from torch.fx.experimental import _config as symbolic_shapes

    # Two sizes that happen to be equal in the first job are not the same size in the next.
    symbolic_shapes.use_duck_shape = False
    # What varies is marked beforehand, so nothing is compiled for the first size alone.
    tracing.automatic_dynamic_shapes = False
    fallback = _Fallback(on_fallback)
    compiled: dict[type[nn.Module], CompiledForward] = {}
    blocks = [block for model in models for block in repeated_blocks(model)]
    for block in blocks:
        kind = type(block)
        if kind not in compiled:
            compiled[kind] = CompiledForward(kind.forward, fallback, backend)
        block.forward = MethodType(compiled[kind], block)
    return len(blocks)


def restore_eager(*models: Any) -> None:
    """Undo `compile_blocks`, and free what was compiled.

    Hooks of diffusers that were added since (step caches) have to be removed first.
    """
    for model in models:
        for block in repeated_blocks(model):
            if isinstance(getattr(block.forward, "__func__", None), CompiledForward):
                del block.forward


def repeated_blocks(model: Any) -> list[nn.Module]:
    """Return the modules whose classes diffusers names as worth compiling."""
    names: list[str] = getattr(model, "_repeated_blocks", None) or []
    return [module for module in model.modules() if type(module).__name__ in names]


class CompiledForward:
    """The ``forward`` of one kind of block, compiled at its first call, eager once ``fallback`` has failed.

    Called with the block and its arguments.
    """

    def __init__(
        self, forward: Callable[..., Any], fallback: "_Fallback", backend: str | Callable[..., Any]
    ) -> None:
        functools.update_wrapper(self, forward)  # step caches look at the signature
        self._eager = forward
        self._fallback = fallback
        compiled = functools.partial(
            cast("Any", torch.compile),  # its types lack the limit
            _with_code_of_its_own(forward),
            fullgraph=True,
            recompile_limit=MAX_GRAPHS,
            backend=backend,
        )
        self._compiled: Callable[..., Any] = compiled()
        self._compiled_for_numbers: Callable[..., Any] = compiled(dynamic=True)

    def __call__(self, block: nn.Module, *arguments: Any, **named: Any) -> Any:
        """Return what the forward of ``block`` returns."""
        if self._fallback.failed:
            return self._eager(block, *arguments, **named)
        inputs = tuple(map(_without_base, arguments))
        named_inputs = {name: _without_base(value) for name, value in named.items()}
        values = list(_flattened((*inputs, *named_inputs.values())))
        _mark_tokens([value for value in values if isinstance(value, torch.Tensor)])
        # Numbers, such as that of the text's tokens, can't be marked.
        takes_numbers = any(type(value) is int for value in values)
        compiled = self._compiled_for_numbers if takes_numbers else self._compiled
        try:
            return compiled(block, *inputs, **named_inputs)
        except _compile_errors() as error:
            cause = getattr(error, "inner_exception", error)
            if is_out_of_memory(cause):
                raise cause from None
            why = _first_line(cause)
        # After the handler, which keeps the tensors of the failed call. An error of the model itself, which
        # the compiler met first, is raised here, and says nothing about the compiler.
        result = self._eager(block, *arguments, **named)
        self._fallback.report(why)
        return result


class _Fallback:
    """Whether the blocks of one loaded model run uncompiled as they could not be compiled."""

    def __init__(self, notify: Callable[[], object]) -> None:
        self.failed = False
        self._notify = notify

    def report(self, why: str) -> None:
        """Fall back to eager."""
        self.failed = True
        log.warning(
            "option_unused",
            option="compile",
            why=f"a block can't be compiled ({why}); the model runs uncompiled until it is loaded again",
        )
        self._notify()


def _with_code_of_its_own(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return a copy of ``forward``.

    torch keeps compiled graphs, and counts them, by code object. With one for each loaded model, unloading it
    frees its graphs, and other models' don't count towards its limit.
    """
    copy = FunctionType(
        forward.__code__.replace(),
        forward.__globals__,
        forward.__name__,
        forward.__defaults__,
        forward.__closure__,
    )
    copy.__kwdefaults__ = forward.__kwdefaults__
    return copy


def _without_base(value: Any) -> Any:
    """Return ``value`` with the tensors in it no longer known as views of others.

    torch would compile one graph for a view and another for the same tensor that is none: for the first block
    and for the rest.
    """
    if isinstance(value, torch.Tensor):
        return value.data if value._is_view() else value
    if type(value) is tuple:
        return tuple(map(_without_base, cast("tuple[object, ...]", value)))
    return value


def _flattened(values: Iterable[Any]) -> Iterator[Any]:
    """Yield ``values`` and those in their tuples and lists."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flattened(cast("Iterable[object]", value))
        else:
            yield value


def _mark_tokens(tensors: Sequence[torch.Tensor]) -> None:
    """Mark the dimensions of a block's inputs that count tokens, so that its code serves any number of them.

    The second of three dimensions does, and whatever is as long, or as long as two of them together: that of
    rotary embeddings or masks. Were every dimension to vary, as with ``dynamic=True``, tracing would take
    minutes over products and quotients of heads and widths, which are the same for all sizes.
    """
    from torch._dynamo import maybe_mark_dynamic

    counts = {tensor.shape[1] for tensor in tensors if tensor.ndim == 3}
    counts |= {one + other for one, other in combinations(counts, 2)}
    for tensor in tensors:
        # The last dimension is a width, but in masks.
        last = tensor.ndim - (tensor.ndim > 2 and tensor.is_floating_point())
        for dimension in range(tensor.ndim == 3, last):
            if (length := tensor.shape[dimension]) > 1 and length in counts:
                maybe_mark_dynamic(tensor, dimension)


@functools.cache
def _compile_errors() -> tuple[type[Exception], ...]:
    """Return the errors that tracing, compiling and tuning kernels raise."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.runtime.triton_compat import OutOfResources, PTXASError
    from torch._inductor.runtime.triton_heuristics import NoTritonConfigsError

    # The last three are raised by a kernel's first launch, outside of the compiler.
    return TorchDynamoException, FailOnRecompileLimitHit, NoTritonConfigsError, OutOfResources, PTXASError


def _first_line(error: BaseException) -> str:
    """Return what ``error`` is, without the tracebacks and paths that follow in the compilers' messages."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    first = (text or "").strip().partition("\n")[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
