"""What is in a file."""

import io

import av
import numpy as np
from PIL import Image


def decoded(data: bytes) -> tuple[int, int, int, float]:
    """Width, height, frames and frame rate of an MP4."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        frames = len(list(container.decode(video=0)))
        rate = stream.average_rate
        assert rate is not None
        return stream.codec_context.width, stream.codec_context.height, frames, float(rate)


def difference(data: bytes, first: int, second: int) -> float:
    """How far two frames of an MP4 are apart: the mean over all pixels, 0 … 255."""
    with av.open(io.BytesIO(data), "r") as container:
        frames = [
            frame.to_ndarray(format="rgb24").astype(np.float64)
            for number, frame in enumerate(container.decode(video=0))
            if number in (first, second)
        ]
    return float(np.abs(frames[0] - frames[1]).mean())


def opened(data: bytes) -> tuple[str | None, tuple[int, int]]:
    """Format and size of an image."""
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture.format, picture.size
