"""Progress of one shot: its denoising steps, and one more for decoding."""

from collections.abc import Callable
from typing import Any, TypeAlias

from framegate.core.backend import GenerationContext

StepCallback: TypeAlias = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]
"""diffusers' ``callback_on_step_end``: pipeline, index of the step, timestep, tensors."""

_SCALE = 1000
"""Units of progress in a step; decoding is reported in fractions of one."""


class StepProgress:
    """Report to ``context`` how far a shot of ``steps`` denoising steps is.

    Where a pipeline makes fewer steps than requested (from a source image or video), the total follows. A
    shot that takes several ``passes`` (stages, images) calls `next_pass` between them; all count the same.
    """

    def __init__(self, context: GenerationContext, steps: int, passes: int = 1) -> None:
        self._context = context
        self._passes = passes
        self._passed = 0
        self.steps = steps

    def report(self, message: str) -> None:
        """Report what is done before the first step."""
        self._context.report(0, self._total, message)

    def next_pass(self) -> None:
        """Count the steps that follow as those of the next pass."""
        self._passed += 1

    def report_decoded(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` frames (or chunks) are decoded."""
        self._context.report(self._total - _SCALE + _SCALE * done // total, self._total, "decoding")

    def on_step_end(
        self, pipeline: Any, index: int, timestep: object, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        """Report a step. This is a `StepCallback` that needs none of the pipeline's tensors."""
        steps = int(pipeline.num_timesteps)
        if self._passes == 1:
            self.steps = steps
        done = self._passed * self.steps + self.steps * (index + 1) / steps
        part = f", part {self._passed + 1} of {self._passes}" if self._passes > 1 else ""
        self._context.report(round(done * _SCALE), self._total, f"step {index + 1} of {steps}{part}")
        return {}

    @property
    def _total(self) -> int:
        return (self._passes * self.steps + 1) * _SCALE
