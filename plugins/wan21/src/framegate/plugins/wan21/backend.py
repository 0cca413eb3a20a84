"""Wan2.1's backend; torch comes with its engine, when a model is loaded."""

from framegate.plugins.diffusers.requirements import install_command
from framegate.plugins.diffusers.wan.backend import WanBackend


class Wan21Backend(WanBackend):
    engine = "framegate.plugins.wan21.engine:Wan21Engine"
    install = install_command("wan21")
