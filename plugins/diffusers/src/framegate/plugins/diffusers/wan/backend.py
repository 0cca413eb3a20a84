"""The base of the Wan backends. It imports nothing heavy."""

from typing import ClassVar

from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.wan.options import WanOptions


class WanBackend(DiffusersBackend):
    """Any Wan model on one device."""

    engine = "framegate.plugins.diffusers.wan.engine:WanEngine"
    options_kind = WanOptions
    precise: ClassVar = {"vae": "float32", "image_encoder": "float32"}
