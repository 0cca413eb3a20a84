"""One video out of several."""

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from framegate.core.backend import Audio
from framegate.media.video.audio import RATE, fitted, read_sound
from framegate.media.video.encode import VideoEncoder, exact_rate
from framegate.media.video.frames import read_frames
from framegate.media.video.probe import describe_video

if TYPE_CHECKING:
    from framegate.core.backend import Frame

TOLERANCE = 0.01
"""How far, relatively, a part's frame rate may be off (23.976 goes with 24)."""


class Part(Struct, frozen=True):
    """What is kept of a video file: ``keep_frames`` frames (else all) after the first ``drop_first``."""

    path: Path
    drop_first: int = 0
    keep_frames: int | None = None

    def frames(self) -> "Iterator[Frame]":
        """The kept frames."""
        end = None if self.keep_frames is None else self.drop_first + self.keep_frames
        return islice(read_frames(self.path), self.drop_first, end)

    def last_frame(self) -> "Frame":
        """The last of the kept frames.

        Raises:
            ValueError: no frame is kept.
        """
        last = deque(self.frames(), maxlen=1)
        if not last:
            raise ValueError("nothing is kept of a video")
        return last.pop()


def join_videos(parts: Sequence[Part], path: Path, *, fps: float) -> None:
    """Write the parts one after another as one MP4, with their sound; silence where a part has none.

    Raises:
        ValueError: there are no parts, nothing is kept of one, or their sizes or frame rates differ.
        InvalidMedia: a part is no video, or damaged.
    """
    width, height = _common_size(parts, fps)
    ends = [0]
    with VideoEncoder(path, width=width, height=height, fps=fps) as encoder:
        for part in parts:
            count = 0
            for frame in part.frames():
                encoder.write(frame)
                count += 1
            if not count:
                raise ValueError("nothing is kept of a video")
            ends.append(ends[-1] + count)
        encoder.finish(_joined_sound(parts, ends, exact_rate(fps)))


def _common_size(parts: Sequence[Part], fps: float) -> tuple[int, int]:
    if not parts:
        raise ValueError("there are no videos to join")
    infos = [describe_video(part.path) for part in parts]
    sizes = {(info.width, info.height) for info in infos}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}×{height}" for width, height in sorted(sizes))
        raise ValueError(f"videos of different sizes can't be joined: {listed}")
    for info in infos:
        if abs(info.fps / fps - 1) > TOLERANCE:
            raise ValueError(f"a video of {info.fps:g} frames a second can't be joined at {fps:g}")
    return sizes.pop()


def _joined_sound(parts: Sequence[Part], ends: Sequence[int], rate: Fraction) -> Audio | None:
    """The parts' sound, each over its kept frames. ``ends`` are frame counts, from 0 on."""
    sounds = [read_sound(part.path) for part in parts]
    if not any(sounds):
        return None
    marks = [round(end / rate * RATE) for end in ends]
    samples = np.zeros((2, marks[-1]), np.float32)
    for part, sound, (start, end) in zip(parts, sounds, pairwise(marks), strict=True):
        if sound is not None:
            dropped = round(part.drop_first / rate * RATE)
            samples[:, start:end] = fitted(sound.samples[:, dropped:], end - start)
    return Audio(samples, RATE)
