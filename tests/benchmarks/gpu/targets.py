"""The targets, computed from the rows of this run and of the earlier ones that it continues."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.benchmarks.gpu.levers import EXACT, FEW_STEPS, FP8
from tests.benchmarks.gpu.models import CASES, WHOLE
from tests.benchmarks.gpu.report import BASELINE, Row, find
from tests.benchmarks.gpu.session import Session
from tests.benchmarks.gpu.stacks import S_STEP, with_cache
from tests.benchmarks.gpu.vae import S_DECODE
from tests.benchmarks.gpu.whole import REST_SHARE, VIDEO_S

PART = "targets"
Value: TypeAlias = Callable[[Sequence[Row]], float | None]


@dataclass(frozen=True)
class Target:
    """What should be reached, at ``least`` or at ``most``; ``value`` gives None where a row is missing."""

    title: str
    value: Value
    least: float | None = None
    most: float | None = None

    def row(self, rows: Sequence[Row]) -> Row:
        """Return what ``rows`` say of it."""
        value = self.value(rows)
        limits = {
            name: limit
            for name, limit in (("at least", self.least), ("at most", self.most))
            if limit is not None
        }
        if value is None:
            return Row(PART, "", self.title, "not run", limits, "not measured")
        met = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return Row(
            PART, "", self.title, values={"measured": value, **limits}, note="met" if met else "not met"
        )


def measure(session: Session, names: Sequence[str]) -> None:
    """Add a row for each target; ``names`` are not used."""
    rows = session.report.rows
    for target in TARGETS:
        session.report.add(target.row(rows))


def faster_step(model: str, name: str) -> Value:
    """Return how many times faster a step of ``name`` is than one of plain diffusers, whole or in a stack."""

    def value(rows: Sequence[Row]) -> float | None:
        for part in ("whole", "stacks"):
            plain, ours = (find(rows, part, model, row) for row in (BASELINE, name))
            if plain and ours:
                return plain.values[S_STEP] / ours.values[S_STEP]
        return None

    return value


def few_steps(model: str) -> Value:
    """Return how many times faster few unguided steps are than all guided ones of plain diffusers.

    Decoding and the file are part of both where the whole model was measured.
    """
    case = CASES[model]

    def value(rows: Sequence[Row]) -> float | None:
        plain, ours = (find(rows, "whole", model, name) for name in (BASELINE, FEW_STEPS))
        if plain and ours:
            return plain.values[VIDEO_S] / ours.values[VIDEO_S]
        plain, ours = (find(rows, "stacks", model, name) for name in (BASELINE, FEW_STEPS))
        if plain and ours:
            all_steps = case.shot.num_inference_steps * plain.values[S_STEP]
            return all_steps / (case.few_steps * ours.values[S_STEP])
        return None

    return value


def faster_decode(group: str) -> Value:
    """Return how many times faster our fastest bfloat16 decode in one piece is than plain diffusers'."""

    def value(rows: Sequence[Row]) -> float | None:
        plain = find(rows, "vae", group, BASELINE)
        ours = [
            row.values[S_DECODE]
            for row in rows
            if (row.part, row.group, row.status) == ("vae", group, "ok") and row.name.startswith("ours, bf16")
        ]
        return plain.values[S_DECODE] / min(ours) if plain and ours else None

    return value


def rest_share(model: str) -> Value:
    """Return the percentage of an exact run that is not denoising."""

    def value(rows: Sequence[Row]) -> float | None:
        row = find(rows, "whole", model, EXACT)
        return row.values[REST_SHARE] if row else None

    return value


_WAN = "Wan2.1-14B 480p"
TARGETS = [
    Target(f"{_WAN}, exact: × a step", faster_step("wan21", EXACT), 1.5),
    Target(f"{_WAN}, compile and fp8: × a step", faster_step("wan21", FP8), 2.0),
    *(
        Target(f"{_WAN}, {name}, cache light: × a step", faster_step("wan21", with_cache(name, "light")), 2.5)
        for name in (EXACT, FP8)
    ),
    Target(f"{_WAN}, 4 steps: × 50 guided ones", few_steps("wan21"), 18.0),
    *(
        Target(f"{CASES[model].title}, exact: × a step", faster_step(model, EXACT), 1.6)
        for model in ("ltx2", "ltx2-768")
    ),
    Target("TI2V-5B 1280×704×121: × the decode in bf16", faster_decode("wan22 1280×704×121"), 1.4),
    *(
        Target(f"{CASES[model].title}, exact: % that is not denoising", rest_share(model), most=10.0)
        for model in WHOLE
    ),
]
