"""The backend that needs no model: images and videos drawn on the CPU."""

from importlib import import_module

from framegate.core.backend import Backend, FrameStream, GenerationContext
from framegate.core.types import Shot


class PreviewBackend(Backend):
    """Draw scenes from prompts, move a camera over images, and regrade videos.

    The same shot with the same inputs gives the same bytes. Every frame carries a small "preview" watermark.
    numpy, Pillow and PyAV are imported by `load`, so that listing plugins stays instant.
    """

    def load(self, device: str) -> None:
        """Import the drawing modules; there are no weights."""
        import_module("framegate.plugins.preview.studio")

    def generate(self, shot: Shot, context: GenerationContext) -> FrameStream:
        """Draw the frames of ``shot``, each (height, width, 3) uint8."""
        from framegate.plugins.preview.studio import frames_of

        return FrameStream(frames_of(shot, context))
