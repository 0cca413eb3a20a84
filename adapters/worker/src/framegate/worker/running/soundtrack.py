"""The sound of several shots as one."""

from typing import TYPE_CHECKING

import numpy as np

from framegate.core.backend import Audio
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot
from framegate.media.video.audio import converted

if TYPE_CHECKING:
    from framegate.core.backend import Samples


class Soundtrack:
    """Collects each shot's sound, cut to the frames that are kept; silence where a shot has none."""

    def __init__(self) -> None:
        self._parts: list[tuple[Audio | None, float]] = []
        self._before: tuple[Audio | None, float] | None = None

    def begin(self, sound: Audio | None, seconds: float) -> None:
        """What is heard before the first shot, in whatever rate and channels."""
        self._before = sound, seconds

    def add(self, sound: Audio | None, shot: Shot) -> None:
        if sound is not None and shot.drop_first:
            start = round(shot.drop_first / shot.fps * sound.sample_rate)
            sound = Audio(sound.samples[:, start:], sound.sample_rate)
        self._parts.append((sound, shot.frames_kept / shot.fps))

    def sound(self) -> Audio | None:
        """None if no shot has any.

        Raises:
            GenerationFailed: the shots' sounds differ in rate or channels.
        """
        sounds = [sound for sound, _ in self._parts if sound is not None]
        before, _ = self._before or (None, 0.0)
        if not sounds and before is None:
            return None
        shapes = {(sound.sample_rate, sound.samples.shape[0]) for sound in sounds or (before,) if sound}
        if len(shapes) > 1:
            raise GenerationFailed("The shots' sounds differ in sample rate or channels.")
        rate, channels = shapes.pop()
        parts = list(self._parts)
        if self._before is not None:
            parts.insert(0, (converted(before, rate, channels) if before else None, self._before[1]))
        return Audio(
            np.concatenate([_fitted(sound, seconds, rate, channels) for sound, seconds in parts], axis=1),
            rate,
        )


def _fitted(sound: Audio | None, seconds: float, rate: int, channels: int) -> "Samples":
    length = round(seconds * rate)
    fitted = np.zeros((channels, length), np.float32)
    if sound is not None:
        heard = sound.samples[:, :length]
        fitted[:, : heard.shape[1]] = heard
    return fitted
