"""Image models, and what Framegate's diffusers backends share. Nothing here imports torch."""

from framegate.core.models import ModelSpec
from framegate.core.plugins import hookimpl
from framegate.plugins.diffusers.images.models import IMAGES


@hookimpl
def framegate_models() -> list[ModelSpec]:
    """Offer the image models."""
    return IMAGES
