"""Open video files, untrusted ones included, and the streams in them that are decoded."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from framegate.core.errors import InvalidMedia

MAX_PIXELS = 40_000_000
"""A frame of more pixels is not decoded, whatever the file's header says."""

THREADS = 4
"""Few, for each holds frames of its own."""

MAX_GROWTH = 4
"""By how much frames may outgrow the size that the file declares, which is all that intake knows."""
MIN_PIXELS = 512 * 512
"""A frame of so few pixels is always decoded; codecs add borders."""

MAX_STREAMS = 128
"""Subtitles and fonts are streams, too."""

MAX_CHANNELS = 8
MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 192_000
MAX_SAMPLES = 1 << 20
"""A block of more samples is not decoded; those of real files are a thousandth of it."""

_VIDEO_CODECS = "h264,hevc,libdav1d,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mjpeg,prores,gif"
_AUDIO_CODECS = (
    "aac,mp3,mp3float,opus,libopus,vorbis,flac,alac,ac3,eac3,amrnb,"
    "pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_alaw,pcm_mulaw"
)
VIDEO_CODECS = frozenset(_VIDEO_CODECS.split(","))
AUDIO_CODECS = frozenset(_AUDIO_CODECS.split(","))
CODEC_WHITELIST = f"{_VIDEO_CODECS},{_AUDIO_CODECS}"

NOT_A_VIDEO = "This is not a video that can be read (MP4, MOV, WebM, MKV or GIF)."
DAMAGED = "This video is damaged or incomplete."


@contextmanager
def open_video(path: Path, *, threads: int = THREADS) -> Generator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream. FFmpeg's errors while it is open mean that it is damaged.

    The container format is chosen by the file's first bytes, so that FFmpeg's playlist, concat and network
    formats are out of reach.

    Raises:
        InvalidMedia: The file is not a valid video, has an unsupported codec, or is damaged.
    """
    container_format = _container_format(path)
    if container_format is None:
        raise InvalidMedia(NOT_A_VIDEO)
    options = {
        "protocol_whitelist": "file",
        "codec_whitelist": CODEC_WHITELIST,
        "max_pixels": str(MAX_PIXELS),
        "max_samples": str(MAX_SAMPLES),
    }
    try:
        with av.open(
            str(path.absolute()), "r", format=container_format, options=options, metadata_errors="replace"
        ) as container:
            if len(container.streams) > MAX_STREAMS:
                raise InvalidMedia(
                    f"This file has {len(container.streams)} streams; at most {MAX_STREAMS} are accepted."
                )
            if not container.streams.video:
                raise InvalidMedia("This file has no video stream.")
            stream = container.streams.video[0]
            # A stream of a codec that FFmpeg doesn't know has no context at all.
            context = getattr(stream, "codec_context", None)
            if context is None or context.codec.name not in VIDEO_CODECS:
                codec = f"codec {context.codec.name}" if context else "codec of this video"
                raise InvalidMedia(f"The video {codec} is not supported; use H.264 in MP4.")
            context.options = {
                "codec_whitelist": CODEC_WHITELIST,
                "max_pixels": str(_largest_frame(context.width, context.height)),
            }
            context.thread_type = "AUTO"
            context.thread_count = threads
            yield container, stream
    except FFmpegError as error:
        raise InvalidMedia(DAMAGED) from error


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the first audio stream of an open video, ready to be decoded; None if it has none.

    Raises:
        InvalidMedia: Its codec is not supported, or it has too many channels or an impossible sample rate.
    """
    if not container.streams.audio:
        return None
    stream = container.streams.audio[0]
    context = getattr(stream, "codec_context", None)
    if context is None or context.codec.name not in AUDIO_CODECS:
        codec = f"codec {context.codec.name}" if context else "codec of its sound"
        raise InvalidMedia(f"The audio {codec} is not supported; use AAC, or remove the sound.")
    check_audio_format(context.sample_rate, context.layout.nb_channels)
    # FFmpeg holds only the decoders that it opens itself to the whitelist of the file.
    context.options = {"codec_whitelist": CODEC_WHITELIST, "max_samples": str(MAX_SAMPLES)}
    return stream


def check_audio_format(sample_rate: int, channels: int) -> None:
    """Check what is decoded, which may differ from what the file's header says.

    Raises:
        InvalidMedia: There are too many channels, or the sample rate (in Hz) is impossible.
    """
    if not 1 <= channels <= MAX_CHANNELS:
        raise InvalidMedia(
            f"The sound of this video has {channels} channels; between 1 and {MAX_CHANNELS} are accepted."
        )
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise InvalidMedia(
            f"The sound of this video has {sample_rate:,} samples a second; between {MIN_SAMPLE_RATE:,} and "
            f"{MAX_SAMPLE_RATE:,} are accepted."
        )


def _largest_frame(width: int, height: int) -> int:
    """Return how many pixels a frame may have, given the declared size: some streams change theirs."""
    declared = width * height
    return min(MAX_PIXELS, max(MIN_PIXELS, MAX_GROWTH * declared)) if declared else MAX_PIXELS


def _container_format(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "gif" if head.startswith((b"GIF87a", b"GIF89a")) else None
