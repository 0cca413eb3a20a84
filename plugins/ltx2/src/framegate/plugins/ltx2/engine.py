"""LTX-2 through diffusers."""

from collections.abc import Generator
from inspect import signature
from typing import TYPE_CHECKING, Any

import structlog
import torch
from diffusers import LTX2ConditionPipeline, LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition
from diffusers.pipelines.ltx2.utils import (
    DISTILLED_SIGMA_VALUES,
    STAGE_2_DISTILLED_SIGMA_VALUES,
    resolve_default_image_crf,
)

from framegate.core.backend import FrameStream, GenerationContext, Sound
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.caching import StepCache
from framegate.plugins.diffusers.engine import Engine
from framegate.plugins.diffusers.folders import fetch, local_folder
from framegate.plugins.diffusers.loading import Loaded, dtypes_of, load_pipeline, sizes_of
from framegate.plugins.diffusers.memory import guarded, is_out_of_memory, release
from framegate.plugins.diffusers.pictures import open_picture
from framegate.plugins.diffusers.placement import GIB
from framegate.plugins.diffusers.steps import StepProgress
from framegate.plugins.ltx2.backend import Ltx2Options
from framegate.plugins.ltx2.decoding import sound_of, tiled, whole
from framegate.plugins.ltx2.guidance import OFF, guidance
from framegate.plugins.ltx2.prompts import Connected, connected, drop_masks
from framegate.plugins.ltx2.upsampling import load_upsampler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from framegate.core.backend import Frame

HEADROOM = 16 * GIB
"""Activations of the largest documented sizes, decoding included."""
log = structlog.get_logger(__name__)
