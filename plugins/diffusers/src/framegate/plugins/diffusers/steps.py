"""Progress of one shot: its denoising steps, and one more for decoding."""

from collections.abc import Callable
from typing import Any, TypeAlias

from framegate.core.backend import GenerationContext

StepCallback: TypeAlias = Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]]

_SCALE = 1000
"""A step, in units of progress; decoding is told in fractions of one."""


class StepProgress:
    """Tells ``context`` how far a shot of ``steps`` denoising steps is.

    ``callback`` is for diffusers' ``callback_on_step_end`` (with
    ``callback_on_step_end_tensor_inputs=[]``). Where a pipeline makes fewer steps than asked (from a source
    picture or video), it says so itself and the rest follows. A shot that takes several ``passes`` (stages,
    pictures) calls `next_pass` between them; each counts alike.
    """

    def __init__(self, context: GenerationContext, steps: int, passes: int = 1) -> None:
        self._context = context
        self._passes = passes
        self._passed = 0
        self.steps = steps

    @property
    def callback(self) -> StepCallback:
        return self._step_ended

    def say(self, message: str) -> None:
        """Before the first step."""
        self._context.report(0, self._total, message)

    def next_pass(self) -> None:
        self._passed += 1

    def decoded(self, done: int, total: int) -> None:
        """``done`` of ``total`` frames (or chunks) are decoded."""
        self._context.report(self._total - _SCALE + _SCALE * done // total, self._total, "decoding")

    @property
    def _total(self) -> int:
        return (self._passes * self.steps + 1) * _SCALE

    def _step_ended(
        self, pipeline: Any, index: int, timestep: object, tensors: dict[str, Any]
    ) -> dict[str, Any]:
        steps = int(pipeline.num_timesteps)
        if self._passes == 1:
            self.steps = steps
        done = self._passed * self.steps + self.steps * (index + 1) / steps
        part = f", part {self._passed + 1} of {self._passes}" if self._passes > 1 else ""
        self._context.report(round(done * _SCALE), self._total, f"step {index + 1} of {steps}{part}")
        return {}
