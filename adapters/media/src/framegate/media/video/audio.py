"""Read audio from files, resample it, fit it to a length, and encode it as AAC."""

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


def check_audio(audio: Audio) -> None:
    """Check that the audio is mono or stereo float32, channels × samples.

    Raises:
        ValueError: It is not; the message says what it is.
    """
    samples = audio.samples
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[0] not in LAYOUTS:
        raise ValueError(
            f"audio must be float32 of shape (1 or 2, samples), not {samples.dtype} of shape {samples.shape}"
        )
    if audio.sample_rate <= 0:
        raise ValueError(f"the sample rate must be positive, not {audio.sample_rate}")


def pad_or_trim(samples: "Samples", length: int) -> "Samples":
    """Return exactly ``length`` samples per channel: trimmed, or padded with silence at the end."""
    trimmed = samples[:, :length]
    return np.pad(trimmed, ((0, 0), (0, length - trimmed.shape[1])))


def skip(audio: Audio, seconds: float) -> Audio:
    """Return the audio without its first ``seconds``."""
    return Audio(audio.samples[:, round(seconds * audio.sample_rate) :], audio.sample_rate)


def read_audio(path: Path) -> Audio | None:
    """Return a video's audio from its first frame on, in stereo at 48 kHz; None if it has none.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    with open_video(path) as (container, video):
        if not container.streams.audio:
            return None
        track = container.streams.audio[0]
        first_frame = Fraction(video.start_time or 0) * (video.time_base or 0)
        resampler = AudioResampler(format="fltp", layout="stereo", rate=RATE)
        blocks: list[Samples] = []
        lead = 0
        for frame in container.decode(track):
            if not blocks and frame.pts is not None and frame.time_base is not None:
                lead = round((frame.pts * frame.time_base - first_frame) * RATE)
            blocks += _samples(resampler.resample(frame))
        blocks += _samples(resampler.resample(None))
    if not blocks:
        return None
    samples = np.concatenate(blocks, axis=1)
    samples = np.pad(samples, ((0, 0), (lead, 0))) if lead > 0 else samples[:, -lead:]
    return Audio(samples, RATE)


def resample(audio: Audio, sample_rate: int, channels: int) -> Audio:
    """Convert the audio to another sample rate, and to mono (1) or stereo (2)."""
    if (audio.sample_rate, audio.samples.shape[0]) == (sample_rate, channels):
        return audio
    if not audio.samples.size:
        return Audio(np.zeros((channels, 0), np.float32), sample_rate)
    resampler = AudioResampler(format="fltp", layout=LAYOUTS[channels], rate=sample_rate)
    frame = AudioFrame.from_ndarray(
        np.ascontiguousarray(audio.samples), format="fltp", layout=LAYOUTS[audio.samples.shape[0]]
    )
    frame.sample_rate = audio.sample_rate
    blocks = [*_samples(resampler.resample(frame)), *_samples(resampler.resample(None))]
    return Audio(np.concatenate(blocks, axis=1), sample_rate)


def aac_packets(stream: AudioStream, audio: Audio, duration: Fraction) -> "Iterator[Packet[Any]]":
    """Encode ``audio``, padded or trimmed to ``duration`` seconds, for a new AAC stream."""
    layout = LAYOUTS[audio.samples.shape[0]]
    stream.layout = layout
    stream.format = "fltp"
    stream.bit_rate = 96_000 * audio.samples.shape[0]
    length = round(duration * audio.sample_rate)
    samples = np.clip(np.nan_to_num(pad_or_trim(audio.samples, length)), -1.0, 1.0)
    resampler = AudioResampler(format="fltp", layout=layout, rate=stream.rate)
    for start in range(0, length, BLOCK):
        block = np.ascontiguousarray(samples[:, start : start + BLOCK])
        frame = AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate = audio.sample_rate
        frame.pts = start
        frame.time_base = Fraction(1, audio.sample_rate)
        for resampled in resampler.resample(frame):
            yield from stream.encode(resampled)
    for resampled in resampler.resample(None):
        yield from stream.encode(resampled)
    yield from stream.encode(None)


def aac_rate(sample_rate: int) -> int:
    """Return ``sample_rate`` if AAC supports it, else 48 kHz."""
    return sample_rate if sample_rate in AAC_RATES else RATE


def _samples(frames: list[AudioFrame]) -> "list[Samples]":
    return [np.asarray(frame.to_ndarray(), dtype=np.float32) for frame in frames]
