"""One run of the benchmark: measure rows one by one, until the time of their part is over."""

import gc
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import structlog
import torch
from structlog.typing import EventDict

from tests.benchmarks.gpu.report import Report, Row

GIB = 2**30
PEAK = "peak GiB"
Measured: TypeAlias = Mapping[str, float | str]
"""Values by their names with units; what is text becomes the row's remark."""


@dataclass(frozen=True)
class Step:
    """A row to measure. Without an ``essential`` one, such as loading the model, the rest can't run."""

    name: str
    measure: Callable[[], Measured]
    essential: bool = False


class Unused:
    """A structlog processor that keeps which options a row asked for and did not get."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def __call__(self, logger: object, method: str, event: EventDict) -> EventDict:
        if event["event"] == "option_unused":
            self.reasons.append(f"{event['option']} unused: {event['why']}")
        return event


class Session:
    """The rows of one part of a run on ``device``. ``folder`` is for files that are needed meanwhile.

    What a row logs goes to stderr. What it asked for and did not get is in its remarks, and makes it fail in
    a ``strict`` session on a GPU.
    """

    def __init__(
        self,
        part: str,
        report: Report,
        device: torch.device,
        folder: Path,
        seconds: float,
        *,
        strict: bool = False,
    ) -> None:
        self.part = part
        self.report = report
        self.device = device
        self.folder = folder
        self.full_size = device.type == "cuda"
        self._strict = strict and self.full_size
        self._deadline = time.monotonic() + seconds

    def run(self, group: str, steps: Sequence[Step]) -> None:
        """Measure ``steps`` in their order. One that fails doesn't stop the others."""
        missing = ""
        for step in steps:
            if missing or time.monotonic() > self._deadline:
                self.report.add(Row(self.part, group, step.name, "not run", note=missing or "no time left"))
                continue
            row = self._measure(group, step)
            self.report.add(row)
            if step.essential and row.status != "ok":
                missing = f"{step.name} failed"

    def _measure(self, group: str, step: Step) -> Row:
        self._forget()
        begin_peak(self.device)
        unused = Unused()
        structlog.configure(
            processors=[unused, structlog.processors.KeyValueRenderer(key_order=["event"])],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
            cache_logger_on_first_use=False,
        )
        try:
            measured = dict(step.measure())
            if self._strict and unused.reasons:
                raise AssertionError(unused.reasons[0])
        except Exception as error:  # the other rows are worth having
            traceback.print_exc(file=sys.stderr)
            note = "; ".join(dict.fromkeys([first_line(error), *unused.reasons]))
            return Row(self.part, group, step.name, "failed", note=note)
        values = {name: float(value) for name, value in measured.items() if not isinstance(value, str)}
        if self.device.type == "cuda" and PEAK not in values:
            values[PEAK] = peak(self.device)
        remarks = [value for value in measured.values() if isinstance(value, str) and value]
        note = "; ".join(dict.fromkeys([*remarks, *unused.reasons]))
        return Row(self.part, group, step.name, values=values, note=note)

    def _forget(self) -> None:
        """Free what the row before left behind, a failed one above all."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of its text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def begin_peak(device: torch.device) -> None:
    """Let `peak` begin here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> float:
    """Return the most memory that tensors had on ``device``, in GiB."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0


def synchronize(device: torch.device) -> None:
    """Wait for what is queued on ``device``."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return how long ``work`` takes until ``device`` has done it."""
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def median_seconds(work: Callable[[], object], device: torch.device, *, enough: float = 4.0) -> float:
    """Return the median of up to three runs of ``work``, or of those that began within ``enough`` seconds."""
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < enough:
        taken.append(seconds_of(work, device))
    return statistics.median(taken)
