"""Which attention kernel is fastest on this card, at a model's shape, and correct."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, cast

import structlog
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn
from msgspec import Struct
from torch._dynamo import eval_frame

from framegate.plugins.diffusers.loading.hub_kernels import KernelUnavailableError
from framegate.plugins.diffusers.loading.probes import GAIN, Stopwatch
from framegate.plugins.diffusers.memory import is_out_of_memory

NATIVE = "native"
"""PyTorch's own attention, which chooses among its kernels and takes every call."""
MAX_TOKENS = 32_768
"""More tokens than these change nothing in the order of kernels, and would take seconds to measure."""
MASK_TOLERANCE = 0.2
"""The relative difference from which on a mask was ignored; eight bits make less."""
MaskKind: TypeAlias = Literal["keep", "add"]
"""What a mask's values are: whether to look at a token, or numbers to add to its weight."""
_SMALL = 256
_eval_frame: Any = eval_frame
_attention: Any = dispatch_attention_fn  # it has no types
log = structlog.get_logger(__name__)


class AttentionShape(Struct, frozen=True):
    """The self-attention that a model spends its time on.

    ``head_widths`` are those of all its attention layers, that of the large one first.
    """

    heads: int
    head_widths: tuple[int, ...]
    tokens: int
    dtype: torch.dtype


class Comparison(Struct, frozen=True):
    """What comparing backends came to.

    ``out`` are those that can't be used, and why; ``lasting`` is whether they couldn't at another start.
    """

    fastest: str
    out: Mapping[str, str]
    lasting: bool


def attention_shape(models: Sequence[Any], tokens: int, dtype: torch.dtype) -> AttentionShape:
    """Return the shape of ``models``' attention for videos or images of ``tokens`` tokens."""
    config: Mapping[str, Any] = models[0].config
    heads = config.get("num_attention_heads") or config.get("n_heads") or 24
    widths = [config.get(name) for name in ("attention_head_dim", "audio_attention_head_dim")]
    known = [width for width in widths if isinstance(width, int)]
    if not known:
        known = [config["dim"] // heads] if isinstance(config.get("dim"), int) else [128]
    return AttentionShape(heads, tuple(dict.fromkeys(known)), min(tokens, MAX_TOKENS), dtype)


def attend(name: str, tokens: Sequence[torch.Tensor], mask: torch.Tensor | None = None) -> torch.Tensor:
    """Return the attention of ``tokens`` by backend ``name``.

    They are query, key and value, each 1 × tokens × heads × width.
    """
    with torch.no_grad():
        result: torch.Tensor = _attention(*tokens, attn_mask=mask, backend=AttentionBackendName(name))
    return result


def random_tokens(
    count: int, heads: int, width: int, device: torch.device, dtype: torch.dtype
) -> list[torch.Tensor]:
    """Return a query, a key and a value; the same ones each time."""
    generator = torch.Generator(device).manual_seed(0)
    shape = (1, count, heads, width)
    return [torch.randn(shape, generator=generator, device=device, dtype=dtype) for _ in range(3)]


def deviation(result: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the relative difference of two results, infinite where there is no number."""
    norm = cast("Callable[..., torch.Tensor]", torch.linalg.vector_norm)
    share = float(norm(result - expected, dtype=torch.float32) / norm(expected, dtype=torch.float32))
    return share if math.isfinite(share) else math.inf


def fastest_backend(
    candidates: Sequence[str],
    shape: AttentionShape,
    device: torch.device,
    seconds: Stopwatch,
    *,
    prepare: Callable[[str], None],
    compiled: bool,
) -> Comparison:
    """Find the candidate that computes ``shape`` fastest; `NATIVE` unless another is clearly faster.

    One that fails, can't be compiled where the blocks will be, or deviates from `NATIVE` by more than the
    dtype's rounding is out. ``prepare`` loads a candidate and raises if it can't.
    """
    tokens = random_tokens(shape.tokens, shape.heads, shape.head_widths[0], device, shape.dtype)
    expected = attend(NATIVE, tokens)
    times = {NATIVE: seconds(partial(attend, NATIVE, tokens))}
    out: dict[str, str] = {}
    lasting = True
    for name in candidates:
        if name == NATIVE:
            continue
        try:
            prepare(name)
            if compiled:
                check_compiles(name, device, shape)
            if (difference := deviation(attend(name, tokens), expected)) > torch.finfo(shape.dtype).eps:
                out[name] = f"its results deviate by {difference:.2g}"
                continue
            times[name] = seconds(partial(attend, name, tokens))
        except Exception as error:  # kernels raise whatever their authors chose
            # Its words only: the error itself would hold the tensors of the call that failed.
            out[name] = describe(error)
            lasting = lasting and not _may_pass(error)
    log.info(
        "attention_measured",
        milliseconds={name: round(1000 * taken, 2) for name, taken in times.items()},
        out=out,
        tokens=shape.tokens,
        heads=shape.heads,
        head_width=shape.head_widths[0],
    )
    fastest = min(times, key=lambda name: times[name])
    return Comparison(fastest if times[fastest] < GAIN * times[NATIVE] else NATIVE, out, lasting)


def _may_pass(error: Exception) -> bool:
    """Return whether what failed may work at the next start: a download, memory, or the card's state."""
    return isinstance(error, KernelUnavailableError | torch.AcceleratorError) or is_out_of_memory(error)


def check_runs(name: str, device: torch.device, shape: AttentionShape) -> None:
    """Run backend ``name`` once at each width of a head, and raise what it raises."""
    for width in shape.head_widths:
        attend(name, random_tokens(_SMALL, 4, width, device, shape.dtype))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def check_compiles(name: str, device: torch.device, shape: AttentionShape) -> None:
    """Trace backend ``name`` as the compiler of a whole block does, and raise if it can't be."""
    tokens = random_tokens(_SMALL, 4, shape.head_widths[0], device, shape.dtype)

    backend = AttentionBackendName(name)

    def block(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _attention(query, key, value, backend=backend)
        return result

    try:
        with torch.no_grad():
            torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")(*tokens)
    finally:
        _eval_frame.reset_code(block.__code__)  # or the eighth time would be one too many


def mask_kind(mask: torch.Tensor) -> MaskKind:
    """Return what the values of ``mask`` are."""
    return "keep" if mask.dtype == torch.bool else "add"


def refused_masks(name: str, device: torch.device, shape: AttentionShape) -> frozenset[MaskKind]:
    """Return the kinds of masks that backend ``name`` refuses or ignores."""
    tokens = random_tokens(_SMALL, 4, shape.head_widths[0], device, shape.dtype)
    keep = (torch.arange(_SMALL, device=device) < _SMALL // 2).view(1, 1, 1, _SMALL)
    added = torch.zeros_like(keep, dtype=shape.dtype).masked_fill(~keep, torch.finfo(shape.dtype).min)
    refused: set[MaskKind] = set()
    for mask in (keep, added):
        try:
            result = attend(name, tokens, mask)
        except Exception:  # kernels raise whatever their authors chose
            refused.add(mask_kind(mask))
            continue
        if deviation(result, attend(NATIVE, tokens, mask)) > MASK_TOLERANCE:
            refused.add(mask_kind(mask))
    return frozenset(refused)


def describe(why: Exception) -> str:
    """Return what an error says in its first line, for the log."""
    return (str(why).strip() or type(why).__name__).partition("\n")[0]
