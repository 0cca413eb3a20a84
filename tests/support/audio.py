"""The audio of videos, for tests that look at its samples."""

from pathlib import Path

import numpy as np

from framegate.core.backend import Audio
from framegate.media.video.audio import AudioTrack, read_track


def whole(track: AudioTrack) -> Audio | None:
    """Return all of a track; None if it has no samples."""
    blocks = list(track.blocks)
    return Audio(np.concatenate(blocks, axis=1), track.sample_rate) if blocks else None


def read_audio(path: Path, *, seconds: float) -> Audio | None:
    """Return what `read_track` reads of a video; None if it has no audio there."""
    return whole(read_track(path, seconds=seconds))
