"""Turn the files that ComfyUI made into results: without metadata, as videos, with audio."""

# pyright: reportUnknownArgumentType=false
# PyAV's type stubs leave `VideoFrame.from_image` without types.

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import chain, takewhile
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image, ImageSequence

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import GenerationFailed
from framegate.media.video.encode import exact_rate
from framegate.plugins.comfyui.execution.image_metadata import strip_image_metadata
from framegate.plugins.comfyui.execution.outputs import ANIMATION_SUFFIXES, IMAGE_SUFFIXES

_AUDIO_RATE = 48_000
_FAST_START = {"movflags": "faststart"}


def strip_metadata(path: Path) -> Path:
    """Remove what ComfyUI writes besides pixels and audio: the whole graph, with the names of its files.

    Nothing is encoded again. The source is removed.

    Raises:
        GenerationFailed: The file can't be read.
        StorageFull: There is no room for the new file.
    """
    with _translate_errors("a file"):
        return _strip_image(path) if path.suffix in IMAGE_SUFFIXES else _strip_video(path)


def animation_to_video(path: Path, fps: float) -> Path:
    """Convert an animated PNG or WebP to a lossless Matroska file; return any other file as it is.

    FFmpeg can't read animated WebP; a Matroska file is made into an MP4 like any other video. The source is
    removed.

    Raises:
        GenerationFailed: The file can't be read.
        StorageFull: There is no room for the new file.
    """
    if path.suffix not in ANIMATION_SUFFIXES:
        return path
    target = path.with_name(f"{path.stem}-frames.mkv")
    with (
        _translate_errors("an animation"),
        Image.open(path) as animation,
        av.open(target, "w") as container,
    ):
        rate = exact_rate(fps)
        stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height = (side - side % 2 for side in animation.size)  # as H.264 wants them
        stream.pix_fmt = "rgb24"
        for index, image in enumerate(_resample(animation, fps)):
            cropped = image.crop((0, 0, stream.width, stream.height))
            frame: VideoFrame = VideoFrame.from_image(cropped)  # type: ignore[no-untyped-call]  # PyAV's stub
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.unlink()
    return target


def add_audio(video: Path, audio: Path) -> Path:
    """Add an audio file to a silent video, cut to the video's length.

    A video that has audio already, or that is neither MP4 nor Matroska, is returned as it is.

    Raises:
        GenerationFailed: A file can't be read.
        StorageFull: There is no room for the new file.
    """
    target = _sibling(video, "audio")
    options = _FAST_START if video.suffix == ".mp4" else {}
    with _translate_errors("an audio file"), av.open(video) as source, av.open(audio) as audio_source:
        if source.streams.audio or video.suffix not in (".mp4", ".mkv"):
            return video
        video_stream = source.streams.video[0]
        with av.open(target, "w", options=options) as container:
            video_copy = container.add_stream_from_template(video_stream)
            audio_stream = container.add_stream("aac", rate=_AUDIO_RATE, layout="stereo")
            end = 0.0
            for packet in source.demux(video_stream):
                if packet.pts is not None and video_stream.time_base:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * video_stream.time_base))
                    packet.stream = video_copy
                    container.mux(packet)
            resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_AUDIO_RATE)
            frames = _until(audio_source.decode(audio=0), end)
            for frame in chain.from_iterable(map(resampler.resample, frames)):
                container.mux(audio_stream.encode(frame))
            container.mux(audio_stream.encode(None))
    return target


@contextmanager
def _translate_errors(what: str) -> Generator[None]:
    try:
        with translate_disk_full():
            yield
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        raise GenerationFailed(f"ComfyUI made {what} that can't be read.") from error


def _resample(animation: Image.Image, fps: float) -> Iterator[Image.Image]:
    """Yield the animation's images at ``fps``, repeating those that are shown longer.

    Savers merge equal images into one of a longer duration, and ComfyUI rounds durations down to whole
    milliseconds.
    """
    frame_ms, shown_ms, num_frames = int(1000 / fps), 0.0, 0
    for image in ImageSequence.Iterator(animation):
        rgb = image.convert("RGB")
        shown_ms += image.info.get("duration") or frame_ms
        while num_frames < max(1, round(shown_ms / frame_ms)):
            yield rgb
            num_frames += 1


def _until(frames: Iterator[AudioFrame], end: float) -> Iterator[AudioFrame]:
    return takewhile(lambda frame: frame.time is None or frame.time < end, frames)


def _sibling(path: Path, label: str) -> Path:
    return path.with_name(f"{path.stem}-{label}{path.suffix}")


def _strip_image(path: Path) -> Path:
    target = _sibling(path, "plain")
    target.write_bytes(strip_image_metadata(path.read_bytes()))
    with Image.open(target) as image:
        image.load()  # or only the client would notice that it is damaged
    path.unlink()
    return target


def _strip_video(path: Path) -> Path:
    if path.suffix not in (".mp4", ".mov", ".m4v"):
        return path  # it is made into an MP4 later on anyway
    target = _sibling(path, "plain").with_suffix(".mp4")
    with av.open(path) as source, av.open(target, "w", options=_FAST_START) as container:
        copies = {
            stream.index: container.add_stream_from_template(stream)
            for stream in source.streams
            if isinstance(stream, VideoStream | AudioStream)
        }
        for packet in source.demux(*(source.streams[index] for index in copies)):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    path.unlink()
    return target
