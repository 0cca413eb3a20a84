"""Stacks of a few layers at full width and full token count, whose steps are scaled by depth.

The time of a step is linear in its layers: measured at two depths it is known for the whole model, in seconds
where that takes minutes.
"""

import statistics
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from msgspec.structs import replace

from framegate.core.types import Shot
from tests.benchmarks.gpu.jobs import Times, our_steps, plain_steps
from tests.benchmarks.gpu.levers import CACHES, EXACT, FEW_STEPS, FP8, OPTIMISED, QUANTIZED, Levers
from tests.benchmarks.gpu.loaded import Loaded
from tests.benchmarks.gpu.models import CASES, Case
from tests.benchmarks.gpu.report import BASELINE
from tests.benchmarks.gpu.session import Measured, Session, Step

LAYERS = 4
"""How many are built."""
STEPS = 3
"""Steps of a measurement; the first warms up."""
ATTENTION = ("_native_flash", "_native_cudnn", "_flash_3", "_flash_3_hub")
"""The exact attention backends that are compared with PyTorch's own choice."""
S_STEP = "s/step"
S_LAYER = "s/layer"


def measure(session: Session, names: Sequence[str]) -> None:
    """Measure the stacks of the models ``names``, all of them if there are none."""
    for name in names or CASES:
        stack = Stack(session, CASES[name])
        try:
            session.run(name, stack.plan())
        finally:
            stack.close()


class Stack(Loaded):
    """One model's stack: plain diffusers, then our backend over the same weights."""

    def __init__(self, session: Session, case: Case) -> None:
        super().__init__(session, case, layers=LAYERS)
        self._layer_seconds: dict[Levers, float] = {}

    def plan(self) -> list[Step]:
        """Return the rows: cheap ones first, and last those with quantised weights, which can't be undone."""
        few = replace(self.shot, guidance_scale=1.0)
        return [
            Step("build", self._build, essential=True),
            Step(BASELINE, self._plain),
            Step("load", self.load, essential=True),
            Step("ours, no optimisation", lambda: self._ours(Levers())),
            *(Step(f"attention {name}", self._with_attention(name)) for name in ATTENTION),
            Step(EXACT, lambda: self._ours(OPTIMISED)),
            Step(FEW_STEPS, lambda: self._ours(OPTIMISED, few)),
            *(Step(with_cache(EXACT, name), self._with_cache(OPTIMISED, name)) for name in CACHES[:1]),
            Step(FP8, lambda: self._ours(QUANTIZED)),
            *(Step(with_cache(FP8, name), self._with_cache(QUANTIZED, name)) for name in CACHES),
        ]

    def _build(self) -> Measured:
        built = self.build()
        for transformer in self._transformers:  # whose number of layers tells which weights they are
            transformer.register_to_config(num_layers=self._all_layers)
        return built

    def _plain(self) -> Measured:
        return self._scaled(
            lambda: plain_steps(self.pipeline, self.shot, self.session.device, STEPS), self.shot
        )

    def _ours(self, levers: Levers, shot: Shot | None = None) -> Measured:
        chosen = self.switch(levers)
        measured = self._scaled(lambda: self._steps(shot or self.shot, STEPS), shot or self.shot)
        if shot is None:
            self._layer_seconds[levers] = measured[S_LAYER]
        return {**measured, "chosen": chosen}

    def _with_attention(self, name: str) -> Callable[[], Measured]:
        return lambda: self._ours(Levers(attention=name))

    def _with_cache(self, levers: Levers, cache: str) -> Callable[[], Measured]:
        return lambda: self._cached(levers, cache)

    def _cached(self, levers: Levers, cache: str) -> Measured:
        """Time all steps of a job at one depth: which of them a cache saves depends on their number.

        Those that compute all layers are scaled by depth; the others compute the same few at any depth.
        """
        per_layer = self._layer_seconds.get(levers)
        if per_layer is None:
            raise RuntimeError("the row without a cache, by which this one is scaled, is missing")
        chosen = self.switch(levers.with_cache(cache))
        with counted_blocks(self._transformers) as count:
            times = self._steps(self.shot, self.shot.num_inference_steps, count)
        shares = computed_shares(times.counts)
        built = len(blocks_of(self._transformers[0]))
        missing = (self._all_layers - built) * per_layer
        usual = {share: median_where(share, shares, times.each_step) for share in shares}
        taken = [usual[share] + share * missing for share in shares]
        return {S_STEP: statistics.mean(taken), "steps computed": statistics.mean(shares), "chosen": chosen}

    def _scaled(self, run: Callable[[], Times], shot: Shot) -> dict[str, float]:
        """Return the time of a step of all layers, from two depths."""
        built = len(blocks_of(self._transformers[0]))
        shallow = built // 2
        whole = run()  # the first job compiles
        seconds = {built: statistics.median(whole.each_step[1:])}
        with depth(self._transformers, shallow):
            seconds[shallow] = statistics.median(run().each_step[1:])
        per_layer = (seconds[built] - seconds[shallow]) / (built - shallow)
        step = seconds[built] + (self._all_layers - built) * per_layer
        return {S_STEP: step, S_LAYER: per_layer, "first step s": whole.each_step[0]}

    def _steps(self, shot: Shot, steps: int, count: Callable[[], int] | None = None) -> Times:
        return our_steps(self.backend, shot, self.session.folder, steps, count)

    @property
    def _all_layers(self) -> int:
        return self.case.layers if self.session.full_size else 2 * len(blocks_of(self._transformers[0]))

    @property
    def _transformers(self) -> list[Any]:
        found = (getattr(self.pipeline, name, None) for name in ("transformer", "transformer_2"))
        return [transformer for transformer in found if transformer is not None]


def with_cache(name: str, cache: str) -> str:
    """Return the name of the row ``name`` with a step cache."""
    return f"{name}, cache {cache}"


def blocks_of(transformer: Any) -> torch.nn.ModuleList:
    """Return the blocks that a transformer is stacked from."""
    blocks: torch.nn.ModuleList = getattr(transformer, _name_of_blocks(transformer))
    return blocks


@contextmanager
def depth(transformers: Sequence[Any], layers: int) -> Generator[None]:
    """Leave the first ``layers`` of ``transformers`` only."""
    whole = [blocks_of(transformer) for transformer in transformers]
    for transformer, blocks in zip(transformers, whole, strict=True):
        setattr(transformer, _name_of_blocks(transformer), blocks[:layers])
    try:
        yield
    finally:
        for transformer, blocks in zip(transformers, whole, strict=True):
            setattr(transformer, _name_of_blocks(transformer), blocks)


@contextmanager
def counted_blocks(transformers: Sequence[Any]) -> Generator[Callable[[], int]]:
    """Give what returns how often blocks of ``transformers`` have run."""
    runs = 0

    def entered(*arguments: object) -> None:
        nonlocal runs
        runs += 1

    handles = [
        block.register_forward_pre_hook(entered)
        for transformer in transformers
        for block in blocks_of(transformer)
    ]
    try:
        yield lambda: runs
    finally:
        for handle in handles:
            handle.remove()


def computed_shares(counts: Sequence[int]) -> list[float]:
    """Return which share of each step was computed in full.

    ``counts`` are the blocks that had run at the end of each step. The step with the fewest saved all that
    can be saved, that with the most nothing.
    """
    runs = [later - earlier for earlier, later in zip([0, *counts], counts, strict=False)]
    least, most = min(runs), max(runs)
    return [1.0 if least == most else (run - least) / (most - least) for run in runs]


def median_where(share: float, shares: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the median of the steps of which ``share`` was computed: the first of a kind compiles."""
    return statistics.median(taken for each, taken in zip(shares, seconds, strict=True) if each == share)


def _name_of_blocks(transformer: Any) -> str:
    return "blocks" if hasattr(transformer, "blocks") else "transformer_blocks"
