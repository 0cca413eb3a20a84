"""Wan2.2's backend. It imports nothing heavy; its engine does, when a model is loaded."""

from framegate.plugins.diffusers.requirements import install_command
from framegate.plugins.diffusers.wan.backend import WanBackend


class Wan22Backend(WanBackend):
    """A Wan2.2 model on one device."""

    engine = "framegate.plugins.wan22.engine:Wan22Engine"
    install = install_command("wan22")
