"""Looks at a picture that is still being sampled, from what ComfyUI sends beside the news of its websocket.

Source: ComfyUI's ``protocol.py`` (the kinds of binary messages) and ``server.py`` (what is in them). All
numbers are big-endian, of four bytes.
"""

import io
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import structlog
from msgspec import Struct
from PIL import Image, ImageOps

from framegate.core.backend import GenerationContext
from framegate.core.types import Shot

if TYPE_CHECKING:
    from framegate.core.backend import Frame

CLIENT_FEATURES = {"supports_preview_metadata": True}
"""Said on connecting: previews then tell whose they are, where the server knows how to."""

MAX_BYTES = 16 * 2**20
MAX_PIXELS = 4096 * 4096
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4
log = structlog.get_logger(__name__)


class _Broken(Exception):
    """It is no picture, or one that no preview is."""


class _Metadata(Struct, frozen=True):
    prompt_id: str = ""


class Previews:
    """Of the previews of one prompt those that are worth a look: ``count``, spread over its sampling."""

    def __init__(self, shot: Shot, count: int) -> None:
        self._size = shot.width, shot.height
        self._points = [number / (count + 1) for number in range(1, count + 1)]
        self._waiting: list[bytes] = []
        self.after_progress = False
        """Was the last of the news the progress of this prompt? That is all that says whose a preview without
        metadata is: those of a prompt that has no client are sent to everybody."""

    def take(self, message: bytes, prompt_id: str, sampled: float) -> None:
        """A binary message that came when ``sampled`` of all the sampling was done."""
        passed = sum(point <= sampled for point in self._points)
        if passed and (picture := self._picture_in(message, prompt_id)):
            del self._points[:passed]
            if len(picture) <= MAX_BYTES:
                self._waiting.append(picture)
            else:
                log.warning("comfyui_preview", reason=f"it has {len(picture)} bytes")

    def show(self, context: GenerationContext) -> None:
        """Show what has come since.

        Raises:
            JobCancelled: as the context does.
        """
        pictures, self._waiting = self._waiting, []
        for picture in pictures:
            try:
                context.report_partial_image(partial(_frame, picture, self._size))
            except _Broken as error:
                log.warning("comfyui_preview", reason=str(error))

    def _picture_in(self, message: bytes, prompt_id: str) -> bytes:
        """Empty if it is no preview of this prompt."""
        kind, second = (int.from_bytes(message[at : at + 4], "big") for at in (0, 4))
        if kind == _PREVIEW and self.after_progress:
            return message[8:]
        if kind == _PREVIEW_WITH_METADATA and _named_in(message[8 : 8 + second]) == prompt_id:
            return message[8 + second :]
        return b""


def _named_in(metadata: bytes) -> str:
    try:
        return msgspec.json.decode(metadata, type=_Metadata).prompt_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def _frame(data: bytes, size: tuple[int, int]) -> "Frame":
    """The preview in the size of the picture that it foretells, which is several times larger.

    Raises:
        _Broken: it is none.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _Broken(f"it is {image.width}×{image.height}")
            picture = ImageOps.fit(image.convert("RGB"), size, Image.Resampling.LANCZOS)
    except _Broken:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them into
        raise _Broken(type(error).__name__) from error
    return np.array(picture, dtype=np.uint8)
