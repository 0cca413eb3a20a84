"""Short measurements on the card, and the file that remembers what they decided."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import msgspec
import structlog
import torch

FILE = "probes.json"
"""The file's name, in the folder that keeps compiled code."""
DRIVER = Path("/proc/driver/nvidia/version")
"""Where Linux tells the version of NVIDIA's driver."""
GAIN = 0.97
"""The share of the usual way's time that another way has to stay below, so that noise decides nothing."""
Stopwatch: TypeAlias = Callable[[Callable[[], object]], float]
"""Returns the seconds that a function takes."""
log = structlog.get_logger(__name__)


def stopwatch(device: torch.device) -> Stopwatch:
    """Return a stopwatch for work on a CUDA ``device``; it calls the function once before it measures."""

    def seconds(run: Callable[[], object]) -> float:
        run()
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        run()
        torch.cuda.synchronize(device)
        return time.perf_counter() - started

    return seconds


def describe_card(device: torch.device) -> str:
    """Return what a measurement on a CUDA ``device`` depends on: the card, its driver and the libraries."""
    try:
        driver = DRIVER.read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        driver = "unknown driver"
    cudnn: Any = torch.backends.cudnn.version()  # type: ignore[no-untyped-call] # untyped in torch
    versions = f"torch {torch.__version__}, cuDNN {cudnn}, diffusers {diffusers.__version__}"
    return f"{torch.cuda.get_device_name(device)}, {driver}, {versions}"


class Decisions:
    """What was decided by measuring, kept in ``folder`` so that the same seed meets the same kernels again.

    A file that can't be read counts as empty, and one that can't be written is done without.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    def get(self, key: str) -> str | None:
        """Return the decision about ``key``, None if there is none."""
        return self._read().get(key)

    def put(self, key: str, decision: str) -> None:
        """Remember ``decision`` about ``key``."""
        decisions = msgspec.json.format(msgspec.json.encode(self._read() | {key: decision}))
        new = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(decisions)
            new.replace(self._file)
        except OSError as error:
            log.info("probe_not_remembered", why=error.strerror)

    def _read(self) -> dict[str, str]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, str])
        except (OSError, ValueError, msgspec.MsgspecError):
            return {}
