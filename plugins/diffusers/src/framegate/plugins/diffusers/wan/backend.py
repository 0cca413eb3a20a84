"""The light half of the Wan backends."""

from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.wan.options import WanOptions


class WanBackend(DiffusersBackend):
    engine = "framegate.plugins.diffusers.wan.engine:WanEngine"
    options_kind = WanOptions
