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
from msgspec import Struct

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


class AudioTrack(Struct, frozen=True):
    """Audio in float32 ``blocks`` (channels × samples), which are iterated once."""

    sample_rate: int
    channels: int
    blocks: "Iterator[Samples]"


def track_of(audio: Audio) -> AudioTrack:
    """Return audio in memory as a track; its samples are not copied.

    Raises:
        ValueError: It is not mono or stereo float32, or its sample rate is not positive.
    """
    samples = audio.samples
    if samples.dtype != np.float32 or samples.ndim != 2 or samples.shape[0] not in LAYOUTS:
        raise ValueError(
            f"audio must be float32 of shape (1 or 2, samples), not {samples.dtype} of shape {samples.shape}"
        )
    if audio.sample_rate <= 0:
        raise ValueError(f"the sample rate must be positive, not {audio.sample_rate}")
    blocks = (samples[:, start : start + RATE] for start in range(0, samples.shape[1], RATE))
    return AudioTrack(audio.sample_rate, samples.shape[0], blocks)


def read_track(path: Path, *, seconds: float, skip: float = 0.0) -> AudioTrack:
    """Return a video's audio from ``skip`` seconds after its first frame on, in stereo at 48 kHz.

    It has no blocks if the video has no audio there. No more than the first ``seconds`` of the video, the
    length of the picture, are decoded, however long the audio is.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged. Iterating the blocks finds it.
    """
    return AudioTrack(RATE, 2, _cut(_read_blocks(path, round(seconds * RATE)), round(skip * RATE)))


def skip(audio: Audio, seconds: float) -> Audio:
    """Return the audio without its first ``seconds``."""
    return Audio(audio.samples[:, round(seconds * audio.sample_rate) :], audio.sample_rate)


def silence(channels: int, length: int) -> "Iterator[Samples]":
    """Yield ``length`` samples of silence."""
    for start in range(0, length, RATE):
        yield np.zeros((channels, min(RATE, length - start)), np.float32)


def pad_or_trim(track: AudioTrack, length: int) -> AudioTrack:
    """Return exactly ``length`` samples per channel: trimmed, or padded with silence at the end."""

    def blocks() -> "Iterator[Samples]":
        left = length
        for block in track.blocks:
            yield block[:, :left]
            left -= block.shape[1]
            if left <= 0:
                return
        yield from silence(track.channels, left)

    return AudioTrack(track.sample_rate, track.channels, blocks())


def _cut(blocks: "Iterator[Samples]", start: int) -> "Iterator[Samples]":
    """Yield what follows the first ``start`` samples."""
    for block in blocks:
        if start < block.shape[1]:
            yield block[:, start:]
        start = max(0, start - block.shape[1])


def _read_blocks(path: Path, length: int) -> "Iterator[Samples]":
    with open_video(path) as (container, video):
        track = audio_stream(container)
        if track is None:
            return
        first_frame = Fraction(video.start_time or 0) * (video.time_base or 0)
        frames = container.decode(track)
        first = next(frames, None)
        if first is None:
            return
        position = 0  # of the next block, in samples after the first frame
        if first.pts is not None and first.time_base is not None:
            position = round((first.pts * first.time_base - first_frame) * RATE)
        if not -MAX_LEAD <= position < length:
            return
        yield from silence(2, position)
        for samples in _in_stereo(chain([first], frames)):
            yield samples[:, max(0, -position) : length - position]
            position += samples.shape[1]
            if position >= length:
                return


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


def resample(track: AudioTrack, sample_rate: int, channels: int) -> AudioTrack:
    """Convert a track to another sample rate, and to mono (1) or stereo (2)."""
    if (track.sample_rate, track.channels) == (sample_rate, channels):
        return track

    def blocks() -> "Iterator[Samples]":
        resampler = AudioResampler(format="fltp", layout=LAYOUTS[channels], rate=sample_rate)
        for frame in _frames(track):
            yield from _samples(resampler.resample(frame))
        yield from _samples(resampler.resample(None))

    return AudioTrack(sample_rate, channels, blocks())


def aac_packets(stream: AudioStream, track: AudioTrack, duration: Fraction) -> "Iterator[Packet[Any]]":
    """Encode a track, padded or trimmed to ``duration`` seconds, for a new AAC stream."""
    stream.layout = LAYOUTS[track.channels]
    stream.format = "fltp"
    stream.bit_rate = 96_000 * track.channels
    resampler = AudioResampler(format="fltp", layout=LAYOUTS[track.channels], rate=stream.rate)
    for frame in _frames(pad_or_trim(track, round(duration * track.sample_rate))):
        for resampled in resampler.resample(frame):
            yield from stream.encode(resampled)
    for resampled in resampler.resample(None):
        yield from stream.encode(resampled)
    yield from stream.encode(None)


def _frames(track: AudioTrack) -> Iterator[AudioFrame]:
    """Yield the track in frames of `BLOCK` samples, clipped to what can be played."""
    position = 0
    for samples in _in_blocks(track.blocks):
        block = np.ascontiguousarray(np.clip(np.nan_to_num(samples), -1.0, 1.0))
        frame = AudioFrame.from_ndarray(block, format="fltp", layout=LAYOUTS[track.channels])
        frame.sample_rate = track.sample_rate
        frame.pts = position
        frame.time_base = Fraction(1, track.sample_rate)
        yield frame
        position += samples.shape[1]


def _in_blocks(pieces: "Iterator[Samples]") -> "Iterator[Samples]":
    """Yield the same samples in blocks of `BLOCK`, the last one shorter."""
    rest: Samples | None = None
    for piece in pieces:
        samples = piece if rest is None else np.concatenate((rest, piece), axis=1)
        whole = samples.shape[1] - samples.shape[1] % BLOCK
        for start in range(0, whole, BLOCK):
            yield samples[:, start : start + BLOCK]
        rest = samples[:, whole:]
    if rest is not None and rest.shape[1]:
        yield rest


def aac_rate(sample_rate: int) -> int:
    """Return ``sample_rate`` if AAC supports it, else 48 kHz."""
    return sample_rate if sample_rate in AAC_RATES else RATE


def _samples(frames: list[AudioFrame]) -> "list[Samples]":
    return [np.asarray(frame.to_ndarray(), dtype=np.float32) for frame in frames]
