"""Small models that CUDA's kernels can run: wide enough for attention kernels, tensor cores and fp8."""

from pathlib import Path
from typing import Any

from framegate.plugins.diffusers import testing
from tests.benchmarks.gpu.models import is_ltx2

_HEADS, _HEAD_WIDTH = 2, 64


def save(name: str, folder: Path) -> Path:
    """Write the model ``name`` of `framegate.plugins.diffusers.testing` with wider transformers."""
    pipeline = testing.build(name)
    widen = _widen_ltx2 if is_ltx2(pipeline) else _widen_wan
    widen(pipeline)
    pipeline.save_pretrained(folder)
    return folder


def _widen_wan(pipeline: Any) -> None:
    changes = {"num_attention_heads": _HEADS, "attention_head_dim": _HEAD_WIDTH, "ffn_dim": 256}
    if pipeline.transformer.config.added_kv_proj_dim is not None:
        changes["added_kv_proj_dim"] = _HEADS * _HEAD_WIDTH
    for name in ("transformer", "transformer_2"):
        if getattr(pipeline, name, None) is not None:
            _rebuild(pipeline, name, **changes)


def _widen_ltx2(pipeline: Any) -> None:
    width = _HEADS * _HEAD_WIDTH
    _rebuild(
        pipeline,
        "transformer",
        attention_head_dim=_HEAD_WIDTH,
        cross_attention_dim=width,
        audio_attention_head_dim=_HEAD_WIDTH,
        audio_cross_attention_dim=width,
    )
    if pipeline.connectors.config.per_modality_projections:  # which project to the transformer's width
        _rebuild(
            pipeline,
            "connectors",
            video_connector_attention_head_dim=_HEAD_WIDTH,
            audio_connector_attention_head_dim=_HEAD_WIDTH,
            video_hidden_dim=width,
            audio_hidden_dim=width,
        )


def _rebuild(pipeline: Any, name: str, **changes: int) -> None:
    before = getattr(pipeline, name)
    pipeline.register_modules(**{name: type(before).from_config({**before.config, **changes}).eval()})
