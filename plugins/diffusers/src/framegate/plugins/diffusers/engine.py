"""A model that is loaded: what every family of pipelines shares. Imports torch; only `load` leads here."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

# Read by diffusers when it is imported.
os.environ.setdefault("HF_ENABLE_PARALLEL_LOADING", "YES")

import torch

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.types import Shot
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.prompts import EmbeddingCache
from framegate.plugins.diffusers.stopping import CancelPoints

log = structlog.get_logger(__name__)


class Engine(ABC):
    """One model on one device, for one job at a time.

    A family implements `load`, `generate` and `close`. Around everything that runs for a job goes ``with
    self.job(context):``, around each stage of it ``with guarded("denoising", self.device, shot):``.
    """

    def __init__(self, source: str, options: Options, device: str) -> None:
        self.source = source
        self.options = options
        self.device = torch.device(device)
        self.prompts = EmbeddingCache(options.prompt_cache, pinned=self.device.type == "cuda")
        self.cancel_points = CancelPoints(self.device)

    @abstractmethod
    def load(self) -> None:
        """Raises:
        GenerationFailed: what is wrong with the source or the options.
        OutOfMemory: there is no room; says what it needs.
        """

    @abstractmethod
    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream: ...

    @abstractmethod
    def memory_needed(self) -> int:
        """Bytes that the model holds on a CUDA device while loaded, as far as can be told before; else 0."""

    def close(self) -> None:
        """Let go of everything; the object is not used again."""
        self.prompts.clear()

    @contextmanager
    def job(self, context: GenerationContext) -> Iterator[None]:
        """Cancel points hold for this job, and nothing of it is left in the models afterwards."""
        try:
            with self.cancel_points.heed(context.check_cancelled):
                yield
        finally:
            self.after_job()

    def after_job(self) -> None:
        """Bring the pipelines back into the state that they had before a job."""

    def generator(self, shot: Shot) -> torch.Generator:
        """A fresh one for each shot, on the host, so that every device draws the same noise."""
        return torch.Generator("cpu").manual_seed(shot.seed)
