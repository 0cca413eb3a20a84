"""Sound tracks: read from files, fitted to the length of pictures, coded as AAC."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyAV's type stubs leave packets and keyword arguments without types.

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet

from framegate.core.backend import Audio
from framegate.media.video.containers import open_video

if TYPE_CHECKING:
    from framegate.core.backend import Samples

LAYOUTS = {1: "mono", 2: "stereo"}
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
RATE = 48_000
BLOCK = 1024


def check_sound(sound: Audio) -> None:
    """Raise ValueError unless the sound is mono or stereo float32, channels × samples."""
    samples = sound.samples
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[0] not in LAYOUTS:
        raise ValueError(
            f"sound must be float32 of shape (1 or 2, samples), not {samples.dtype} of shape {samples.shape}"
        )
    if sound.sample_rate <= 0:
        raise ValueError(f"the sample rate must be positive, not {sound.sample_rate}")


def fitted(samples: "Samples", length: int) -> "Samples":
    """Exactly ``length`` samples: cut, or with silence at the end."""
    cut = samples[:, :length]
    return np.pad(cut, ((0, 0), (0, length - cut.shape[1])))


def read_sound(path: Path) -> Audio | None:
    """A video's sound from its first picture on, in stereo at 48 kHz. None where it has none.

    Raises:
        InvalidMedia: it is no video, or damaged.
    """
    with open_video(path) as (container, pictures):
        if not container.streams.audio:
            return None
        track = container.streams.audio[0]
        first_picture = Fraction(pictures.start_time or 0) * (pictures.time_base or 0)
        resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE)
        blocks: list[Samples] = []
        lead = 0
        for frame in container.decode(track):
            if not blocks and frame.pts is not None and frame.time_base is not None:
                lead = round((frame.pts * frame.time_base - first_picture) * RATE)
            blocks += _samples(resampler.resample(frame))
        blocks += _samples(resampler.resample(None))
    if not blocks:
        return None
    samples = np.concatenate(blocks, axis=1)
    samples = np.pad(samples, ((0, 0), (lead, 0))) if lead > 0 else samples[:, -lead:]
    return Audio(samples, RATE)


def converted(sound: Audio, sample_rate: int, channels: int) -> Audio:
    """The same in another rate, in mono (1) or stereo (2)."""
    if (sound.sample_rate, sound.samples.shape[0]) == (sample_rate, channels):
        return sound
    resampler = AudioResampler(format="fltp", layout=LAYOUTS[channels], rate=sample_rate)
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(sound.samples), format="fltp", layout=LAYOUTS[sound.samples.shape[0]]
    )
    frame.sample_rate = sound.sample_rate
    blocks = [*_samples(resampler.resample(frame)), *_samples(resampler.resample(None))]
    return Audio(np.concatenate(blocks, axis=1), sample_rate)


def aac_packets(stream: AudioStream, sound: Audio, duration: Fraction) -> "Iterator[Packet[Any]]":
    """The packets of ``sound``, brought to ``duration`` seconds, for a new AAC stream."""
    layout = LAYOUTS[sound.samples.shape[0]]
    stream.layout = layout
    stream.format = "fltp"
    stream.bit_rate = 96_000 * sound.samples.shape[0]
    length = round(duration * sound.sample_rate)
    samples = np.clip(np.nan_to_num(fitted(sound.samples, length)), -1.0, 1.0)
    resampler = AudioResampler(format="fltp", layout=layout, rate=stream.rate)
    for start in range(0, length, BLOCK):
        block = np.ascontiguousarray(samples[:, start : start + BLOCK])
        frame = AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = sound.sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, sound.sample_rate)
        for resampled in resampler.resample(frame):
            yield from stream.encode(resampled)
    for resampled in resampler.resample(None):
        yield from stream.encode(resampled)
    yield from stream.encode(None)


def aac_rate(sample_rate: int) -> int:
    """The rate itself where AAC knows it, else 48 kHz."""
    return sample_rate if sample_rate in AAC_RATES else RATE


def _samples(frames: list[AudioFrame]) -> "list[Samples]":
    return [np.asarray(frame.to_ndarray(), dtype=np.float32) for frame in frames]
