"""A stand-in for FlashAttention 3 as the hub has it: a kernel repository in pure Python."""

import json
from pathlib import Path

REPOSITORY = "kernels-community/flash-attn3"
_CODE = """
import torch

from . import flash_attn_interface

calls = []


def flash_attn_func(q, k, v, softmax_scale=None, causal=False, **options):
    calls.append(tuple(q.shape))
    q, k, v = (each.transpose(1, 2) for each in (q, k, v))
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=softmax_scale, is_causal=causal)
    return out.transpose(1, 2)
"""
_INTERFACE = """
def _flash_attn_forward(*arguments, **named):
    raise NotImplementedError


def _flash_attn_backward(*arguments, **named):
    raise NotImplementedError
"""


def write_kernel(folder: Path, *, code: str = _CODE, variant: str = "torch-cpu", **metadata: object) -> Path:
    """Write the kernel below ``folder``, as ``options.attention_kernels`` takes it, and return ``folder``."""
    build = folder / REPOSITORY / "build" / variant
    build.mkdir(parents=True)
    described: dict[str, object] = {
        "id": f"_flash_attn3_{abs(hash(str(folder)))}",
        "name": "flash-attn3",
        "version": 1,
        "license": "BSD-3-Clause",
        "python-depends": [],
        "backend": {"type": variant.rpartition("-")[2]},
        **metadata,
    }
    (build / "metadata.json").write_text(json.dumps(described))
    (build / "__init__.py").write_text(code)
    (build / "flash_attn_interface.py").write_text(_INTERFACE)
    return folder
