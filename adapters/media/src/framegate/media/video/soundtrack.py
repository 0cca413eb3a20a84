"""Join the audio of several clips."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from framegate.core.errors import GenerationFailed
from framegate.media.video.audio import RATE, AudioTrack, pad_or_trim, resample, silence

if TYPE_CHECKING:
    from framegate.core.backend import Samples

_SPARE_SECONDS = 1
"""How much is kept beyond a clip's end, for the resampler."""


class _Section(Struct, frozen=True):
    """What a clip gave: ``size`` samples of each channel from the byte ``start`` of the file on."""

    duration: Fraction
    sample_rate: int = 0
    channels: int = 0
    start: int = 0
    size: int = 0
    resampled: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        return self.sample_rate, self.channels


class Soundtrack:
    """Collect each clip's audio, padded or trimmed to the clip's duration; silence where a clip has none.

    It waits in the file at ``path``, so that it takes no more memory the longer it is; `remove` ends that.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sections: list[_Section] = []

    def add(self, track: AudioTrack | None, duration: Fraction, *, resampled: bool = False) -> None:
        """Append the audio of a clip of ``duration`` seconds.

        With ``resampled`` it is converted to the sample rate and channels of the other clips.
        """
        start = size = 0
        if track is not None:
            most = round((duration + _SPARE_SECONDS) * track.sample_rate)
            with self._path.open("ab") as file:
                start = file.tell()
                for block in track.blocks:
                    kept = block[:, : most - size]
                    file.write(np.ascontiguousarray(kept.T, np.float32).data)
                    size += kept.shape[1]
                    if size >= most:
                        break
        if track is None or not size:
            self._sections.append(_Section(duration))
        else:
            self._sections.append(
                _Section(duration, track.sample_rate, track.channels, start, size, resampled)
            )

    def join(self) -> AudioTrack | None:
        """Return the audio of all clips as one; None if no clip has any.

        Raises:
            GenerationFailed: Clips that are not to be resampled differ in sample rate or channels.
        """
        sounding = [section for section in self._sections if section.size]
        given = {section.shape for section in sounding if not section.resampled}
        if len(given) > 1:
            raise GenerationFailed("The audio of the shots differs in sample rate or channels.")
        if not sounding:
            return None
        rate, channels = next(iter(given), sounding[0].shape)
        return AudioTrack(rate, channels, self._blocks(rate, channels))

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _blocks(self, rate: int, channels: int) -> "Iterator[Samples]":
        end = Fraction(0)
        for section in self._sections:
            start, end = end, end + section.duration
            length = round(end * rate) - round(start * rate)
            if section.size:
                track = AudioTrack(*section.shape, self._read(section))
                yield from pad_or_trim(resample(track, rate, channels), length).blocks
            else:
                yield from silence(channels, length)

    def _read(self, section: _Section) -> "Iterator[Samples]":
        with self._path.open("rb") as file:
            file.seek(section.start)
            for first in range(0, section.size, RATE):
                count = min(RATE, section.size - first) * section.channels
                samples = np.frombuffer(file.read(4 * count), np.float32)
                yield np.ascontiguousarray(samples.reshape(-1, section.channels).T)
