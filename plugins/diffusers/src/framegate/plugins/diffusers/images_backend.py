"""The light part of the picture models' backend."""

from typing import ClassVar

from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.requirements import install_command


class ImagesBackend(DiffusersBackend):
    """Runs what AutoPipeline finds in ``source``."""

    engine: ClassVar[str] = "framegate.plugins.diffusers.images_engine:ImagesEngine"
    install: ClassVar[str] = install_command("diffusers")
