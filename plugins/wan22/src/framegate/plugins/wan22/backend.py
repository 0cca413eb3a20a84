"""Wan2.2's backend; torch comes with its engine, when a model is loaded."""

from framegate.plugins.diffusers.requirements import install_command
from framegate.plugins.diffusers.wan.backend import WanBackend


class Wan22Backend(WanBackend):
    install = install_command("wan22")
