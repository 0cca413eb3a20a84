"""Open video files, untrusted ones included."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream

from framegate.core.errors import InvalidMedia

MAX_PIXELS = 40_000_000
"""A frame of more pixels is not decoded, whatever the file's header says."""

THREADS = 4
"""Few, for each holds frames of its own."""

CODECS = (
    "h264,hevc,libdav1d,av1,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mjpeg,prores,gif,"
    "aac,mp3,mp3float,opus,libopus,vorbis,flac,alac,ac3,eac3,pcm_s16le,pcm_s16be,pcm_s24le,pcm_f32le"
)

NOT_A_VIDEO = "This is not a video that can be read (MP4, MOV, WebM, MKV or GIF)."
DAMAGED = "This video is damaged or incomplete."


@contextmanager
def open_video(path: Path) -> Generator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream. FFmpeg's errors while it is open mean that it is damaged.

    The container format is chosen by the file's first bytes, so that FFmpeg's playlist, concat and network
    formats are out of reach.

    Raises:
        InvalidMedia: The file is not a valid video, has an unsupported codec, or is damaged.
    """
    container_format = _container_format(path)
    if container_format is None:
        raise InvalidMedia(NOT_A_VIDEO)
    options = {"protocol_whitelist": "file", "codec_whitelist": CODECS, "max_pixels": str(MAX_PIXELS)}
    try:
        with av.open(
            str(path.absolute()), "r", format=container_format, options=options, metadata_errors="replace"
        ) as container:
            if not container.streams.video:
                raise InvalidMedia("This file has no video stream.")
            stream = container.streams.video[0]
            # A stream of a codec that FFmpeg doesn't know has no context at all.
            context = getattr(stream, "codec_context", None)
            if context is None or context.codec.name not in CODECS.split(","):
                codec = f"codec {context.codec.name}" if context else "codec of this video"
                raise InvalidMedia(f"The video {codec} is not supported; use H.264 in MP4.")
            context.options = {"max_pixels": str(MAX_PIXELS)}
            context.thread_type = "AUTO"
            context.thread_count = THREADS
            yield container, stream
    except FFmpegError as error:
        raise InvalidMedia(DAMAGED) from error


def _container_format(path: Path) -> str | None:
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    return "gif" if head.startswith((b"GIF87a", b"GIF89a")) else None
