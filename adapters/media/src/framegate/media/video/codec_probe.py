"""Encode a few frames and decode them again, to see whether an encoder works.

Argument: the `VideoCodec` as JSON. If the encoder doesn't work, this program says why and exits with 1.
"""

import signal
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from framegate.media.video.codecs import PROBE_SECONDS, PROBE_SIZE, VideoCodec
from framegate.media.video.encode import VideoEncoder
from framegate.media.video.frames import read_frames

_FRAMES = 8
_MOST_ERROR = 8.0
"""How much a pixel may differ from what was encoded, on average, of 255."""


def probe(codec: VideoCodec) -> None:
    """Encode and decode frames.

    Raises:
        Exception: What is wrong with the encoder.
    """
    width, height = PROBE_SIZE
    ramp = np.linspace(32, 224, width, dtype=np.uint8)
    frames = [np.repeat(np.roll(ramp, 8 * n)[None, :, None], height, 0).repeat(3, 2) for n in range(_FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.mp4"
        with VideoEncoder(path, width=width, height=height, fps=24, codecs=[codec]) as encoder:
            for frame in frames:
                encoder.write(frame)
            encoder.finish()
        decoded = list(read_frames(path))
    if len(decoded) != _FRAMES:
        raise ValueError(f"{_FRAMES} frames were encoded, and {len(decoded)} decoded")
    error = max(np.abs(a.astype(int) - b).mean() for a, b in zip(frames, decoded, strict=True))
    if error > _MOST_ERROR:
        raise ValueError(f"the decoded pixels differ by {error:.0f} of 255 from the encoded ones")


def main() -> None:
    """Probe what the argument describes."""
    signal.alarm(int(PROBE_SECONDS) + 1)  # a driver that hangs must not outlive a worker that was killed
    [codec] = sys.argv[1:]
    try:
        probe(msgspec.json.decode(codec, type=VideoCodec))
    except Exception as error:
        reason = (isinstance(error, OSError) and error.strerror) or error  # without the name of a file
        sys.stdout.write(f"{type(error).__name__}: {reason}")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
