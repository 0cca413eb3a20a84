"""A plugin whose Wan2.2 runs out of memory where the prompt says so; for workers of their own process."""

from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from framegate.core.backend import FrameStream, GenerationContext
from framegate.core.models import ModelSpec
from framegate.core.plugins import hookimpl
from framegate.core.types import Shot
from framegate.plugins.diffusers.wan.options import WanOptions
from framegate.plugins.wan22 import TI2V_5B
from framegate.plugins.wan22.backend import Wan22Backend


class FragileBackend(Wan22Backend):
    """``options = { mark = "FILE" }``: loading fails while that file is there."""

    def __init__(self, source: str = "", options: dict[str, Any] | None = None) -> None:
        super().__init__(source, options)
        self._mark = Path(self.options.pop("mark"))

    def load(self, device: str) -> None:
        if not self._mark.exists():
            super().load(device)
            return
        from framegate.plugins.diffusers.memory import oom_as_job_error

        with oom_as_job_error("loading the model", torch.device(device)):
            raise torch.OutOfMemoryError("CUDA out of memory")

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        parts: Any = self.loaded_engine.pipeline
        failing = {"denoise": parts.transformer, "decode": parts.vae.decoder}.get(shot.prompt)
        if failing is not None:
            hook: Any = None

            def fail(*_: object) -> None:
                hook.remove()
                raise torch.OutOfMemoryError("CUDA out of memory")

            hook = failing.register_forward_pre_hook(fail)
        return super().generate(shot, context)


class FragileOptions(WanOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    mark: str


FRAGILE = replace(
    TI2V_5B,
    id="fragile",
    backend=f"{__name__}:FragileBackend",
    options_type=f"{__name__}:FragileOptions",
)


@hookimpl
def framegate_models() -> list[ModelSpec]:
    return [FRAGILE]
