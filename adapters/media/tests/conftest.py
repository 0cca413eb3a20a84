"""Clips for the tests of `framegate.media`."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from framegate.core.backend import Audio
from framegate.media.decoding.pool import DecoderPool, open_decoders
from framegate.media.decoding.tasks import DecoderLimits
from framegate.media.video.encode import VideoEncoder

Frames: TypeAlias = list[NDArray[np.uint8]]
MakeClip: TypeAlias = Callable[..., Path]


@pytest.fixture
def moving_frames() -> Callable[..., Frames]:
    """Makes frames that differ from one another: waves that move, smooth enough to survive H.264."""

    def make(count: int, width: int = 64, height: int = 48) -> Frames:
        y, x = np.mgrid[0:height, 0:width]
        return [
            np.stack(
                [
                    127 + 100 * np.sin((x + 5 * n) / 15),
                    127 + 100 * np.cos((y - 3 * n) / 12),
                    127 + 100 * np.sin((x + y + 7 * n) / 20),
                ],
                axis=-1,
            ).astype(np.uint8)
            for n in range(count)
        ]

    return make


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Encodes frames into an MP4 in the test's folder."""

    def make(name: str, frames: Frames, fps: float = 24.0, audio: Audio | None = None) -> Path:
        path = tmp_path / name
        height, width, _ = frames[0].shape
        with VideoEncoder(path, width=width, height=height, fps=fps) as encoder:
            for frame in frames:
                encoder.write(frame)
            encoder.finish(audio)
        return path

    return make


@pytest.fixture
def astronaut() -> Image.Image:
    """Eileen Collins, photographed for NASA: public domain (scikit-image's ``astronaut``, cropped)."""
    with Image.open(Path(__file__).with_name("astronaut.jpg")) as picture:
        return picture.convert("RGB").resize((200, 200))


@pytest.fixture
async def decoders() -> AsyncGenerator[DecoderPool]:
    """Up to two decoder processes."""
    async with open_decoders(2, DecoderLimits()) as pool:
        yield pool
