"""The parts by name. This imports torch and everything that is measured."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from framegate.plugins.diffusers.loading.pipelines import silence_logging
from tests.benchmarks.gpu import smoke, stacks, targets, vae, whole
from tests.benchmarks.gpu.report import Report
from tests.benchmarks.gpu.session import Session

PARTS: dict[str, Callable[[Session, Sequence[str]], None]] = {
    "smoke": smoke.measure,
    "vae": vae.measure,
    "stacks": stacks.measure,
    "whole": whole.measure,
    "targets": targets.measure,
}


def run_part(name: str, report: Report, device: str | None, folder: Path, seconds: float) -> None:
    """Run the part ``name`` ("stacks"), or one model of it ("stacks:wan21"), for about ``seconds``."""
    silence_logging()
    part, _, model = name.partition(":")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    session = Session(part, report, where, folder, seconds, strict=part == "smoke")
    PARTS[part](session, [model] if model else [])
