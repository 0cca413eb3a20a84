"""Join the audio of several clips."""

from fractions import Fraction

import numpy as np
from msgspec import Struct

from framegate.core.backend import Audio
from framegate.core.errors import GenerationFailed
from framegate.media.video.audio import pad_or_trim, resample


class _Section(Struct, frozen=True):
    audio: Audio | None
    duration: Fraction
    resampled: bool


class Soundtrack:
    """Collect each clip's audio, padded or trimmed to the clip's duration; silence where a clip has none."""

    def __init__(self) -> None:
        self._sections: list[_Section] = []

    def add(self, audio: Audio | None, duration: Fraction, *, resampled: bool = False) -> None:
        """Append the audio of a clip of ``duration`` seconds.

        With ``resampled`` it is converted to the sample rate and channels of the other clips.
        """
        self._sections.append(_Section(audio, duration, resampled))

    def join(self) -> Audio | None:
        """Return the audio of all clips as one; None if no clip has any.

        Raises:
            GenerationFailed: Clips that are not to be resampled differ in sample rate or channels.
        """
        given = {
            _shape(section.audio) for section in self._sections if section.audio and not section.resampled
        }
        if len(given) > 1:
            raise GenerationFailed("The audio of the shots differs in sample rate or channels.")
        shapes = [*given, *(_shape(section.audio) for section in self._sections if section.audio)]
        if not shapes:
            return None
        rate, channels = shapes[0]
        end = Fraction(0)
        samples = np.zeros(
            (channels, round(sum(section.duration for section in self._sections) * rate)), "f4"
        )
        for section in self._sections:
            start, end = end, end + section.duration
            if section.audio is not None:
                first, stop = round(start * rate), round(end * rate)
                resampled = resample(section.audio, rate, channels)
                samples[:, first:stop] = pad_or_trim(resampled.samples, stop - first)
        return Audio(samples, rate)


def _shape(audio: Audio) -> tuple[int, int]:
    return audio.sample_rate, audio.samples.shape[0]
