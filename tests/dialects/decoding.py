"""What is in a video file."""

import io

import av


def decoded(data: bytes) -> tuple[int, int, int, float]:
    """Width, height, frames and frame rate of an MP4."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        frames = len(list(container.decode(video=0)))
        rate = stream.average_rate
        assert rate is not None
        return stream.codec_context.width, stream.codec_context.height, frames, float(rate)
