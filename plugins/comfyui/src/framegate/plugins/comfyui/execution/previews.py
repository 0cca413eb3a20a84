"""Partial images: ComfyUI's previews, which it sends as binary messages over the websocket.

Source: ComfyUI's ``protocol.py`` (the types of binary messages) and ``server.py`` (their contents). All
numbers are big-endian and four bytes long.
"""

import io
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import structlog
from msgspec import Struct
from PIL import Image

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot
from framegate.media.images.fitting import fit

if TYPE_CHECKING:
    from framegate.core.backend import Frame

CLIENT_FEATURES = {"supports_preview_metadata": True}
"""What a client announces for previews that name their prompt, from servers that can do so."""

MAX_BYTES = 16 * 2**20
MAX_PIXELS = 4096 * 4096
_PREVIEW_IMAGE, _PREVIEW_IMAGE_WITH_METADATA = 1, 4
log = structlog.get_logger(__name__)


class _InvalidPreview(Exception):
    """The data is not an image, or not one that a preview could be."""


class _Metadata(Struct, frozen=True):
    prompt_id: str = ""


class Previews:
    """The previews of one prompt that are reported: ``num_partial_images``, spread over its sampling."""

    def __init__(self, shot: Shot, num_partial_images: int) -> None:
        self._size = shot.width, shot.height
        self._thresholds = [number / (num_partial_images + 1) for number in range(1, num_partial_images + 1)]
        self._pending: list[bytes] = []
        self._follows_progress = False

    def handle_event(self, event_type: str, *, is_ours: bool) -> None:
        """Note the last event before a preview.

        A preview without metadata belongs to this prompt if it follows the prompt's own progress: previews of
        prompts that have no client are sent to every client.
        """
        self._follows_progress = is_ours and event_type == "progress"

    def handle_message(self, message: bytes, prompt_id: str, sampled: float) -> None:
        """Keep a binary message's image if it is due, where ``sampled`` of all steps (0…1) are done."""
        num_due = sum(threshold <= sampled for threshold in self._thresholds)
        if num_due and (image := self._extract_image(message, prompt_id)):
            del self._thresholds[:num_due]
            if len(image) <= MAX_BYTES:
                self._pending.append(image)
            else:
                log.warning("comfyui_preview", reason=f"it has {len(image)} bytes")

    def report(self, context: GenerationContext) -> None:
        """Report the images that have arrived since the last call.

        Raises:
            JobCancelled: Passed through from the context.
        """
        images, self._pending = self._pending, []
        for image in images:
            try:
                context.report_partial_image(partial(_decode_preview, image, self._size))
            except _InvalidPreview as error:
                log.warning("comfyui_preview", reason=str(error))

    def _extract_image(self, message: bytes, prompt_id: str) -> bytes:
        """Return the message's image, or no bytes if it is not a preview of this prompt."""
        kind, second = (int.from_bytes(message[at : at + 4], "big") for at in (0, 4))
        if kind == _PREVIEW_IMAGE and self._follows_progress:
            return message[8:]
        if kind == _PREVIEW_IMAGE_WITH_METADATA and _read_prompt_id(message[8 : 8 + second]) == prompt_id:
            return message[8 + second :]
        return b""


def _read_prompt_id(metadata: bytes) -> str:
    try:
        return msgspec.json.decode(metadata, type=_Metadata).prompt_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _decode_preview(data: bytes, size: tuple[int, int]) -> "Frame":
    """Return the preview enlarged to the finished image's size, which is several times its own."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _InvalidPreview(f"it is {image.width}×{image.height}")
            frame = fit(image.convert("RGB"), *size)
    except _InvalidPreview:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them into
        raise _InvalidPreview(type(error).__name__) from error
    return np.array(frame, dtype=np.uint8)
