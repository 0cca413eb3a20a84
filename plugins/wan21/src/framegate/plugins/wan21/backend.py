"""Wan2.1's backend. It imports nothing heavy; its engine does, when a model is loaded."""

from framegate.plugins.diffusers.requirements import install_command
from framegate.plugins.diffusers.wan.backend import WanBackend


class Wan21Backend(WanBackend):
    """A Wan2.1 model on one device."""

    engine = "framegate.plugins.wan21.engine:Wan21Engine"
    install = install_command("wan21")
