"""The models and videos that are measured: at full size on a GPU, tiny without one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from diffusers import LTX2Pipeline
from msgspec.structs import replace

from framegate.core.types import Shot, Task
from framegate.plugins.diffusers import testing
from tests.benchmarks import full_size


@dataclass(frozen=True)
class Case:
    """A model and the video that is requested of it.

    ``build`` takes the layers of the transformer and of the text encoder; ``tiny`` is the model of
    `framegate.plugins.diffusers.testing` that stands for it without a GPU. ``precise`` are the dtypes with
    which diffusers' documentation loads it, beside bfloat16.
    """

    name: str
    title: str
    backend: str
    build: Callable[..., Any]
    layers: int
    tiny: str
    precise: Mapping[str, torch.dtype]
    shot: Shot
    few_steps: int
    """Of the distilled weights, which need no guidance."""

    def dtypes(self, *, full_size: bool) -> dict[str, torch.dtype]:
        """Return those of each component, for `full_size.on_device`."""
        return {"default": torch.bfloat16, **self.precise} if full_size else {"default": torch.float32}


VIDEO = Shot(
    task=Task.TEXT_TO_VIDEO,
    prompt="A cat walks on the grass, realistic",
    negative_prompt="blurred, static, low quality",
    width=1280,
    height=704,
    num_frames=121,
    fps=24.0,
    seed=0,
    num_inference_steps=50,
    guidance_scale=5.0,
)
_WAN = {"vae": torch.float32}
_LTX2 = replace(VIDEO, num_inference_steps=40, guidance_scale=4.0)
_WAN22 = "framegate.plugins.wan22.backend:Wan22Backend"
CASES = {
    case.name: case
    for case in (
        Case(
            "wan21",
            "Wan2.1-T2V-14B, 832×480, 81 frames",
            "framegate.plugins.wan21.backend:Wan21Backend",
            full_size.wan21_t2v,
            40,
            "wan21_t2v",
            _WAN,
            replace(VIDEO, width=832, height=480, num_frames=81, fps=16.0),
            few_steps=4,
        ),
        Case(
            "ltx2",
            "LTX-2 19B, 1024×576, 121 frames with audio",
            "framegate.plugins.ltx2.backend:Ltx2Backend",
            full_size.ltx2,
            48,
            "ltx2",
            {},
            replace(_LTX2, width=1024, height=576),
            few_steps=8,
        ),
        Case(
            "ltx2-768",
            "LTX-2 19B, 768×512, 121 frames with audio",
            "framegate.plugins.ltx2.backend:Ltx2Backend",
            full_size.ltx2,
            48,
            "ltx2",
            {},
            replace(_LTX2, width=768, height=512),
            few_steps=8,
        ),
        Case(
            "wan22",
            "Wan2.2-TI2V-5B, 1280×704, 121 frames",
            _WAN22,
            full_size.wan22_ti2v,
            30,
            "wan22_ti2v",
            _WAN,
            VIDEO,
            few_steps=4,
        ),
        Case(
            "wan22-a14b",
            "Wan2.2-T2V-A14B, 1280×720, 81 frames",
            _WAN22,
            full_size.wan22_a14b_t2v,
            40,
            "wan22_a14b_t2v",
            _WAN,
            replace(VIDEO, height=720, num_frames=81, fps=16.0, num_inference_steps=40, guidance_scale=4.0),
            few_steps=4,
        ),
    )
}
WHOLE = ("wan21", "ltx2", "wan22")
"""Those that are measured whole: two transformers of 14 billion parameters show nothing more than one."""


def shot_of(case: Case, *, full_size: bool) -> Shot:
    """Return the video of ``case``; a small one for its tiny model."""
    return case.shot if full_size else replace(case.shot, width=96, height=64, num_frames=9)


def builder(case: Case, layers: int | None, *, full_size: bool) -> Callable[[], Any]:
    """Return what builds ``case``: whole, or ``layers`` of its transformers and two of its text encoder."""
    if not full_size:
        return partial(_tiny, case.tiny)
    return partial(case.build, layers, 2) if layers else case.build


def _tiny(name: str) -> Any:
    with torch.device("cpu"):  # whatever the caller's: its schedulers can't be made without data
        return testing.build(name)


def is_ltx2(pipeline: Any) -> bool:
    """Return whether a pipeline makes audio, too."""
    return isinstance(pipeline, LTX2Pipeline)
