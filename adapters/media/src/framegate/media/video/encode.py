"""Encode result files: MP4s, as their frames arrive, and PNGs."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# PyAV's type stubs leave packets and keyword arguments without types.

import heapq
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np
import structlog
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from PIL import Image

from framegate.core.backend import Audio
from framegate.media.video.audio import AudioTrack, aac_packets, aac_rate, track_of
from framegate.media.video.codecs import X264, VideoCodec, VideoCodecFailed
from framegate.media.video.color import to_yuv
from framegate.media.video.probe import VideoInfo

if TYPE_CHECKING:
    from framegate.core.backend import Frame

QUEUED_FRAMES = 4
"""Frames that may wait for the encoder before `VideoEncoder.write` does."""

WITHOUT_ENCODER_NAME = "filter_units=remove_types=6"
AAC_OPTIONS = {"flags": "+bitexact"}
MUXER_OPTIONS = {"movflags": "+faststart", "fflags": "+bitexact"}
MIN_TIMESCALE = 10_000
log = structlog.get_logger(__name__)


class VideoEncoder:
    """Encode one H.264 MP4 in a thread of its own, as its frames arrive.

    ``width`` and ``height`` are even, ``fps`` is 0.01–1000. The file is complete when `finish` returns. When
    the encoder is used as a context manager, the file is removed unless `finish` returned and the block
    raised nothing. Equal frames make equal files, as far as x264 encodes them.

    The first of ``codecs`` encodes. If it fails before anything is encoded, the next one takes its place.
    """

    def __init__(
        self,
        path: Path,
        *,
        width: int,
        height: int,
        fps: float,
        codecs: Sequence[VideoCodec] = (X264,),
    ) -> None:
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise ValueError(f"the sides of a video must be even, not {width}×{height}")
        if not 0.01 <= fps <= 1000:
            raise ValueError(f"a video needs between 0.01 and 1000 frames a second, not {fps}")
        self._path = path
        self._silent = path.with_name(f"{path.name}.silent")
        self._shape = (height, width, 3)
        self._rate = exact_rate(fps)
        self._codecs = codecs
        self._encoded = 0
        self._count = 0
        self._finished = False
        self._failure: Exception | None = None
        self._queue: Queue[VideoFrame | None] = Queue(QUEUED_FRAMES)
        self._thread = Thread(target=self._run, name="video-encoder", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or not self._finished:
            self.abort()

    def write(self, frame: "Frame") -> None:
        """Append one frame; its array may be reused at once. Block while the encoder is behind.

        Raises:
            ValueError: The frame is not uint8 of shape (height, width, 3).
            Exception: What stopped the encoder, if it has stopped.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise ValueError(
                f"expected a uint8 frame of shape {self._shape}, got {frame.dtype} of shape {frame.shape}"
            )
        self._require_open()
        queued = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        queued.pts = self._count
        queued.time_base = 1 / self._rate
        self._queue.put(queued)
        self._count += 1

    def finish(self, audio: Audio | AudioTrack | None = None) -> VideoInfo:
        """Encode the rest, add ``audio``, padded or trimmed to the video's length, and sync the file.

        Return what the file holds, as `describe_video` would find it.

        Raises:
            ValueError: No frame was written, or the audio is not mono or stereo float32.
            Exception: What stopped the encoder.
        """
        self._require_open()
        if not self._count:
            raise ValueError("a video needs at least one frame")
        track = track_of(audio) if isinstance(audio, Audio) else audio
        self._stop()
        self._raise_failure()
        self._mux(track)
        self._silent.unlink()
        sync(self._path)
        self._finished = True
        height, width, _ = self._shape
        return VideoInfo(width, height, self._count, float(self._rate), float(self._count / self._rate))

    def abort(self) -> None:
        """Stop, and remove what was written so far."""
        self._stop()
        for path in (self._silent, self._path):
            path.unlink(missing_ok=True)

    def _require_open(self) -> None:
        self._raise_failure()
        if not self._thread.is_alive():
            raise ValueError("this video is closed")

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        frames = iter(self._queue.get, None)
        try:
            self._encode(frames)
        except Exception as error:
            self._failure = error
            for _ in frames:  # or `write` would wait for room in the queue forever
                pass

    def _muxer_options(self) -> dict[str, str]:
        """Count time in units in which every frame begins at a whole number; milliseconds would round."""
        unit = self._rate.numerator
        return {**MUXER_OPTIONS, "movie_timescale": str(unit * -(-MIN_TIMESCALE // unit))}

    def _encode(self, frames: Iterator[VideoFrame]) -> None:
        *preferred, last = self._codecs
        first: list[VideoFrame] = []  # kept for the next encoder
        for codec in preferred:
            first = first or list(islice(frames, 1))
            try:
                self._encode_by(codec, chain(first, frames))
            except VideoCodecFailed as failure:
                if self._encoded > len(first):
                    raise
                log.warning("video_encoder_skipped", encoder=codec.name, reason=str(failure))
            else:
                return
        try:
            self._encode_by(last, chain(first, frames))
        except VideoCodecFailed as failure:
            raise failure.error from None

    def _encode_by(self, codec: VideoCodec, frames: Iterable[VideoFrame]) -> None:
        height, width, _ = self._shape
        self._encoded = 0
        with av.open(str(self._silent), "w", format="mp4", container_options=self._muxer_options()) as target:
            stream = target.add_stream(codec.name, rate=self._rate, options=dict(codec.options))
            assert isinstance(stream, VideoStream)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            context.time_base = 1 / self._rate
            if codec.threads:
                context.thread_type = "FRAME"
                context.thread_count = codec.threads
            context.colorspace = Colorspace.ITU709
            context.color_range = ColorRange.MPEG
            context.color_primaries = ColorPrimaries.BT709
            context.color_trc = ColorTrc.BT709
            try:
                context.open()
            except FFmpegError as error:
                raise VideoCodecFailed(codec, 0, error) from error
            target.start_encoding()
            for packets in self._packets(codec, stream, frames):
                target.mux(packets)

    def _packets(
        self, codec: VideoCodec, stream: VideoStream, frames: Iterable[VideoFrame]
    ) -> "Iterator[list[Packet[Any]]]":
        """Yield what the codec makes of the frames, so that its errors are told from those of the file."""
        nameless = BitStreamFilterContext(WITHOUT_ENCODER_NAME, stream)
        try:
            for frame in frames:
                self._encoded += 1
                for packet in stream.encode(to_yuv(frame)):
                    yield nameless.filter(packet)
            for packet in stream.encode():
                yield nameless.filter(packet)
            yield nameless.filter(None)
        except FFmpegError as error:
            raise VideoCodecFailed(codec, self._encoded, error) from error

    def _mux(self, audio: AudioTrack | None) -> None:
        with (
            av.open(str(self._silent), "r", format="mov") as source,
            av.open(str(self._path), "w", format="mp4", container_options=self._muxer_options()) as target,
        ):
            video = source.streams.video[0]
            tracks = [_copied(source, video, target.add_stream_from_template(video))]
            if audio is not None:
                stream = target.add_stream("aac", rate=aac_rate(audio.sample_rate), options=AAC_OPTIONS)
                tracks.append(aac_packets(stream, audio, self._count / self._rate))
            for packet in heapq.merge(*tracks, key=_decoding_time):
                target.mux(packet)


def sync(path: Path) -> None:
    """Flush the file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exact_rate(fps: float) -> Fraction:
    """Return the frame rate that a file gets: 24 for 24.0, and 24000/1001 for 23.976023976."""
    return Fraction(fps).limit_denominator(1001)


def _copied(source: InputContainer, track: VideoStream, copy: VideoStream) -> "Iterator[Packet[Any]]":
    for packet in source.demux(track):
        if packet.dts is not None:
            packet.stream = copy
            yield packet


def _decoding_time(packet: "Packet[Any]") -> Fraction:
    return (packet.dts or 0) * packet.time_base


def encode_png(frame: "Frame", path: Path) -> None:
    """Write a frame as PNG, without any metadata.

    Raises:
        ValueError: The frame is not uint8, height × width × 3.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"expected a uint8 frame of shape (height, width, 3), got {frame.dtype} of shape {frame.shape}"
        )
    Image.fromarray(frame).save(path, "PNG", compress_level=6)
