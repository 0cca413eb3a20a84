"""The light part of the picture models' backend."""

from typing import ClassVar

from framegate.plugins.diffusers.backend import DiffusersBackend


class ImagesBackend(DiffusersBackend):
    """Runs what AutoPipeline finds in ``source``."""

    engine: ClassVar[str] = "framegate.plugins.diffusers.images_engine:ImagesEngine"
    install: ClassVar[str] = "pip install 'framegate-diffusers[torch]'"
