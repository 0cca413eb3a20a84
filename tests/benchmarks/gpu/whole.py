"""Whole models: a few steps, decoding and the file, by plain diffusers and by ours."""

import statistics
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from framegate.core.types import Shot
from tests.benchmarks.gpu.jobs import Times, our_video, plain_video
from tests.benchmarks.gpu.levers import EXACT, FEW_STEPS, FP8, OPTIMISED, QUANTIZED, Levers
from tests.benchmarks.gpu.loaded import Loaded
from tests.benchmarks.gpu.models import CASES, WHOLE
from tests.benchmarks.gpu.report import BASELINE
from tests.benchmarks.gpu.session import Measured, Session, Step

STEPS = 3
"""Steps of the job whose time is taken; the first warms up."""
VIDEO_S, S_STEP, REST_S, REST_SHARE = "video s", "s/step", "rest s", "rest %"
FIRST_S = "first job beyond it s"


def measure(session: Session, names: Sequence[str]) -> None:
    """Measure the models ``names``, one after the other; `WHOLE` if there are none."""
    for name in names or WHOLE:
        model = Whole(session, name)
        try:
            session.run(name, model.plan())
        finally:
            model.close()


class Whole(Loaded):
    """One whole model: plain diffusers, then our backend over the same weights."""

    def __init__(self, session: Session, name: str) -> None:
        super().__init__(session, CASES[name], layers=None)

    def plan(self) -> list[Step]:
        """Return the rows; the one with quantised weights, which can't be undone, is the last."""
        few = replace(self.shot, guidance_scale=1.0, num_inference_steps=self.case.few_steps)
        return [
            Step("build", self.build, essential=True),
            Step(BASELINE, self._plain),
            Step("load", self.load, essential=True),
            Step(EXACT, lambda: self._ours(OPTIMISED, self.shot)),
            Step(FEW_STEPS, lambda: self._ours(OPTIMISED, few)),
            Step(FP8, lambda: self._ours(QUANTIZED, self.shot)),
        ]

    def _plain(self) -> Measured:
        path = self.session.folder / "plain.mp4"
        return self._video(
            lambda shot: plain_video(self.pipeline, shot, self.session.device, path), self.shot
        )

    def _ours(self, levers: Levers, shot: Shot) -> Measured:
        chosen = self.switch(levers)
        measured = self._video(lambda shot: our_video(self.backend, shot, self.session.folder), shot)
        return {**measured, "chosen": chosen}

    def _video(self, run: Callable[[Shot], Times], shot: Shot) -> dict[str, float]:
        """Compute the whole video of ``shot`` from a job of two steps, which compiles, and one of three."""
        first, following = (run(replace(shot, num_inference_steps=steps)) for steps in (2, STEPS))
        step = statistics.median(following.each_step[1:])
        video = shot.num_inference_steps * step + following.rest
        return {
            VIDEO_S: video,
            S_STEP: step,
            "steps": shot.num_inference_steps,
            REST_S: following.rest,
            REST_SHARE: 100 * following.rest / video,
            "before the first step s": following.first_forward,
            FIRST_S: first.whole - 2 * step - following.rest,
        }
