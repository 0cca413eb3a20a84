"""The image models' backend. It imports nothing heavy."""

from typing import ClassVar

from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.requirements import install_command


class ImagesBackend(DiffusersBackend):
    """Run whatever pipeline AutoPipeline finds in ``source``."""

    engine: ClassVar[str] = "framegate.plugins.diffusers.images.engine:ImagesEngine"
    install: ClassVar[str] = install_command("diffusers")
