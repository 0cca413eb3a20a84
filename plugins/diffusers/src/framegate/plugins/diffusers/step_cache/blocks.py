"""Transformers whose blocks cache-dit skips. Imports cache-dit, which only a model with a cache may need."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from cache_dit.caching import (  # pyright: ignore[reportMissingTypeStubs] # ships no types
    CachedBlocks,
    CachedContextManager,
    DBCacheConfig,
    ForwardPattern,
    TaylorSeerCalibratorConfig,
)
from cache_dit.caching.cache_contexts.cache_config import (  # pyright: ignore[reportMissingTypeStubs] # likewise
    ExtraCacheConfig,
)
from msgspec import Struct
from torch import nn

from framegate.plugins.diffusers.step_cache.schedules import Schedule

_ALWAYS = 1.0
"""The threshold at which cache-dit skips whatever the residual is."""
_TRACE = 64
"""Of how many channels one is kept where the first block's residual is not looked at."""


class BlockStack(Struct, frozen=True):
    """Where a class of transformers keeps its blocks, and how they are called.

    The members of ``lists`` run one after the other with the same arguments, so that they count as one stack.
    """

    lists: tuple[str, ...]
    pattern: Any
    audio: bool = False


STACKS: Mapping[str, BlockStack] = {
    "WanTransformer3DModel": BlockStack(("blocks",), ForwardPattern.Pattern_2),
    "LTX2VideoTransformer3DModel": BlockStack(("transformer_blocks",), ForwardPattern.Pattern_0, audio=True),
    "FluxTransformer2DModel": BlockStack(
        ("transformer_blocks", "single_transformer_blocks"), ForwardPattern.Pattern_1
    ),
    "QwenImageTransformer2DModel": BlockStack(("transformer_blocks",), ForwardPattern.Pattern_1),
    "SD3Transformer2DModel": BlockStack(("transformer_blocks",), ForwardPattern.Pattern_1),
}
"""The transformers that can skip blocks, by class."""


class CachedTransformer:
    """A transformer with the cache of one job.

    cache-dit's own entry points replace the transformer's ``forward``, for LTX-2 by one that lacks arguments
    its pipelines pass; they lose the hooks of model offload when they are switched off, and take every second
    forward for the unconditional one. So this uses the parts below them: a cached stack takes the place of
    the transformer's blocks while the job runs, and each pass of a step has a context of its own.
    """

    def __init__(self, transformer: nn.Module) -> None:
        self._transformer = transformer
        self._kind = STACKS[type(transformer).__name__]
        self._lists = {name: getattr(transformer, name) for name in self._kind.lists}
        self._manager: Any = CachedContextManager(name=type(transformer).__name__)
        self._passes: set[str] = set()
        blocks = [block for blocks in self._lists.values() for block in blocks]
        # As SD3's does.
        self._drops_text = bool(getattr(blocks[-1], "context_pre_only", False))
        self._stack: Any = CachedBlocks(
            nn.ModuleList(blocks),
            transformer=transformer,
            forward_pattern=self._kind.pattern,
            # Offload wraps the blocks' forward, which hides its parameters.
            check_forward_pattern=False,
            check_num_outputs=False,
            cache_prefix="blocks",
            cache_context="",
            context_manager=self._manager,
        )
        self._stack.transformer = None  # which would be its own part
        self._audio = AudioVideoBlocks(self._stack) if self._kind.audio else None
        stack: nn.Module = self._audio or self._stack
        for name in self._lists:
            setattr(transformer, name, nn.ModuleList([stack] if name == self._kind.lists[0] else []))

    def begin_pass(
        self, name: str, create_schedule: Callable[[], Schedule], arguments: Mapping[str, Any]
    ) -> None:
        """Make the next forward that of the pass ``name``, which gets its schedule the first time.

        ``arguments`` are the transformer's.
        """
        if name not in self._passes:
            self._passes.add(name)
            self._create_context(name, create_schedule())
        self._stack.cache_context = name
        if self._audio is not None:
            self._audio.perturbed = tuple(arguments.get("spatio_temporal_guidance_blocks") or ())

    def close(self) -> None:
        """Give the transformer its own blocks back, and drop what was cached."""
        for name, blocks in self._lists.items():
            setattr(self._transformer, name, blocks)
        self._manager.clear_contexts()

    def _create_context(self, name: str, schedule: Schedule) -> None:
        always = schedule.threshold is None
        threshold = _ALWAYS if schedule.threshold is None else schedule.threshold
        config = DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            residual_diff_threshold=threshold,
            max_warmup_steps=0,
            enable_separate_cfg=False,
            steps_computation_mask=[int(step) for step in schedule.computed],
            steps_computation_policy="static" if always else "dynamic",
        )
        # What the first block adds is kept to compare it; where nothing is, a trace of it will do.
        kept = ExtraCacheConfig(downsample_factor=_TRACE if always else 1)
        # Only where the second stream comes out of the last block is there anything of it to predict.
        both = not self._kind.pattern.Return_H_Only and not self._drops_text
        forecast = TaylorSeerCalibratorConfig(enable_encoder_calibrator=both) if schedule.forecast else None
        self._manager.new_context(
            name=name, cache_config=config, extra_cache_config=kept, calibrator_config=forecast
        )


class AudioVideoBlocks(nn.Module):
    """Call a stack with LTX-2's arguments: the audio takes the place of the text that other blocks return.

    So the residuals of both streams are cached. ``perturbed`` are the blocks that spatio-temporal guidance
    perturbs in this pass: the transformer passes that to each block, but calls the stack only once.
    """

    def __init__(self, stack: nn.Module) -> None:
        super().__init__()
        self.stack = stack
        self.perturbed: tuple[int, ...] = ()

    def forward(
        self,
        hidden_states: torch.Tensor,
        audio_hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        audio_encoder_hidden_states: torch.Tensor,
        **named: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the stack, and return both streams."""
        blocks: Any = self.stack.transformer_blocks
        named |= {"perturbation_mask": None, "all_perturbed": False}
        hooks = [
            blocks[number].register_forward_pre_hook(_perturb, with_kwargs=True) for number in self.perturbed
        ]
        try:
            streams: tuple[torch.Tensor, torch.Tensor] = self.stack(
                hidden_states,
                audio_hidden_states,
                encoder_hidden_states,
                audio_encoder_hidden_states,
                **named,
            )
        finally:
            for hook in hooks:
                hook.remove()
        return streams


def _perturb(
    module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Perturb every element of the batch, as the transformer does without a mask of its own."""
    mask = arguments[0].new_zeros((arguments[0].shape[0], 1, 1))
    return arguments, {**named, "perturbation_mask": mask, "all_perturbed": True}


def silence_logging() -> None:
    """Keep cache-dit's hints off the worker's output: each of its loggers writes there by itself."""
    for name, logger in logging.root.manager.loggerDict.items():
        if isinstance(logger, logging.Logger) and name.startswith(("cache_dit", "CACHE_DIT")):
            logger.setLevel(logging.ERROR)
