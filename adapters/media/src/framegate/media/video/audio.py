"""Read audio from files, resample it, fit it to a length, and encode it as AAC."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyAV's type stubs leave packets and keyword arguments without types.

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet

from framegate.core.backend import Audio
from framegate.media.video.containers import audio_stream, check_audio_format, open_video

if TYPE_CHECKING:
    from framegate.core.backend import Samples

LAYOUTS = {1: "mono", 2: "stereo"}
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})
RATE = 48_000
BLOCK = 1024
MAX_LEAD = 60 * RATE
"""Sound that begins more samples before the picture is left out, as finding the picture in it takes long."""


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


def read_audio(path: Path, *, seconds: float) -> Audio | None:
    """Return a video's audio from its first frame on, in stereo at 48 kHz; None if it has none there.

    No more than ``seconds``, the length of the picture, is decoded, however long the audio is.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged.
    """
    length = round(seconds * RATE)
    blocks: list[Samples] = []
    with open_video(path) as (container, video):
        track = audio_stream(container)
        if track is None:
            return None
        first_frame = Fraction(video.start_time or 0) * (video.time_base or 0)
        frames = container.decode(track)
        first = next(frames, None)
        if first is None:
            return None
        position = 0  # of the next block, in samples after the first frame
        if first.pts is not None and first.time_base is not None:
            position = round((first.pts * first.time_base - first_frame) * RATE)
        if not -MAX_LEAD <= position < length:
            return None
        if position > 0:
            blocks.append(np.zeros((2, position), np.float32))
        for samples in _in_stereo(chain([first], frames)):
            blocks.append(samples[:, max(0, -position) : length - position])
            position += samples.shape[1]
            if position >= length:
                break
    return Audio(np.concatenate(blocks, axis=1), RATE) if blocks else None


def _in_stereo(frames: Iterable[AudioFrame]) -> "Iterator[Samples]":
    """Convert decoded frames to stereo at `RATE`. Some files change their format on the way."""
    resampler, known = None, None
    for frame in frames:
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or found != known:
            check_audio_format(frame.sample_rate, frame.layout.nb_channels)
            if resampler is not None:
                yield from _samples(resampler.resample(None))
            resampler, known = AudioResampler(format="fltp", layout="stereo", rate=RATE), found
        yield from _samples(resampler.resample(frame))
    if resampler is not None:
        yield from _samples(resampler.resample(None))


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
    resampler = AudioResampler(format="fltp", layout=layout, rate=stream.rate)
    for start in range(0, length, BLOCK):
        samples = pad_or_trim(audio.samples[:, start : start + BLOCK], min(BLOCK, length - start))
        block = np.ascontiguousarray(np.clip(np.nan_to_num(samples), -1.0, 1.0))
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
