"""The image models' backend. It imports nothing heavy."""

from typing import ClassVar

from framegate.core.types import ShotSize
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.memory import Passes
from framegate.plugins.diffusers.requirements import install_command


class ImagesBackend(DiffusersBackend):
    """Run whatever pipeline AutoPipeline finds in ``source``."""

    engine: ClassVar[str] = "framegate.plugins.diffusers.images.engine:ImagesEngine"
    install: ClassVar[str] = install_command("diffusers")

    def passes(self, options: Options, size: ShotSize) -> Passes:
        """Return one pass of two samples, as Stable Diffusion's pipelines make for guidance."""
        return [(size, 2)]
