"""The files that a graph made."""

from collections.abc import Iterator, Mapping
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.video.stream import VideoStream
from PIL import Image

from framegate.core.disk_full import translate_disk_full
from framegate.core.errors import GenerationFailed
from framegate.plugins.comfyui.execution.animations import video_of
from framegate.plugins.comfyui.execution.image_metadata import without_texts
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.servers.client import StoredFile
from framegate.plugins.comfyui.workflows.workflow import Kind

_GROUPS = ("images", "gifs", "videos", "video", "audio")
_VIDEOS = frozenset({".mp4", ".webm", ".mov", ".mkv", ".m4v", ".avi", ".gif"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
_ANIMATIONS = frozenset({".png", ".webp"})
_SOUNDS = frozenset({".flac", ".mp3", ".opus", ".wav", ".ogg", ".m4a", ".aac"})
_SUFFIXES: Mapping[Kind, frozenset[str]] = {"video": _VIDEOS, "image": _PICTURES, "audio": _SOUNDS}
_MOVING = frozenset({"animated", "gifs"})  # what the savers of animations say, and those of pictures don't
_RATE = 48_000
_FAST_START = {"movflags": "faststart"}


def files_of(output: Any, kind: Kind) -> list[StoredFile]:
    """The files of ``kind`` in a node's output; previews only where there is nothing else. Animated pictures
    are videos where no other video is."""
    groups = (table(output).get(name) for name in _GROUPS)
    listed = [item for group in groups for item in (items(group) or [group])]
    found = [file for item in listed if (file := _file(item))]
    files = [file for file in found if _kind(file) == kind]
    if not files and kind == "video" and table(output).keys() & _MOVING:
        files = [file for file in found if suffix_of(file) in _ANIMATIONS]
    return [file for file in files if file.type != "temp"] or files


def _file(item: Any) -> StoredFile | None:
    said = table(item)
    filename, subfolder, kind, format_ = (
        str(said.get(name) or "") for name in ("filename", "subfolder", "type", "format")
    )
    return StoredFile(filename, subfolder, kind or "output", format_) if filename else None


def suffix_of(file: StoredFile) -> str:
    """The extension, which is all that is taken over of the file's name."""
    suffix = PurePosixPath(file.filename).suffix.lower()
    return suffix if any(suffix in suffixes for suffixes in _SUFFIXES.values()) else ""


def _kind(file: StoredFile) -> Kind | None:
    suffix = suffix_of(file)
    for kind, suffixes in _SUFFIXES.items():
        if suffix in suffixes or (not suffix and file.format.startswith(f"{kind}/")):
            return kind
    return None


def without_metadata(path: Path) -> Path:
    """The same pictures and sound without what ComfyUI writes beside them: the whole graph with the names of
    its files. Nothing is encoded again.

    Raises:
        GenerationFailed: the file can't be read.
        StorageFull: there is no room for the new one.
    """
    try:
        with translate_disk_full():
            return _plain_picture(path) if path.suffix in _PICTURES else _plain_video(path)
    except (FFmpegError, OSError, ValueError) as error:
        raise GenerationFailed("ComfyUI made a file that can't be read.") from error


def as_video(path: Path, fps: float) -> Path:
    """An animated picture as a video; any other file as it is.

    Raises:
        GenerationFailed: the file can't be read.
        StorageFull: there is no room for the new one.
    """
    if path.suffix not in _ANIMATIONS:
        return path
    try:
        with translate_disk_full():
            return video_of(path, fps)
    except (FFmpegError, OSError, ValueError) as error:
        raise GenerationFailed("ComfyUI made an animation that can't be read.") from error


def with_sound(video: Path, sound: Path) -> Path:
    """``video`` with ``sound`` as its sound, cut to its length; ``video`` itself if it has one already.

    Raises:
        GenerationFailed: a file can't be read.
        StorageFull: there is no room for the new one.
    """
    target = _beside(video, "sounding")
    options = _FAST_START if video.suffix == ".mp4" else {}
    try:
        with translate_disk_full(), av.open(video) as source, av.open(sound) as heard:
            if source.streams.audio or video.suffix not in (".mp4", ".mkv"):
                return video
            picture = source.streams.video[0]
            with av.open(target, "w", options=options) as made:
                copied = made.add_stream_from_template(picture)
                spoken = made.add_stream("aac", rate=_RATE, layout="stereo")
                end = 0.0
                for packet in source.demux(picture):
                    if packet.pts is not None and picture.time_base:
                        end = max(end, float((packet.pts + (packet.duration or 0)) * picture.time_base))
                        packet.stream = copied
                        made.mux(packet)
                resampler = av.AudioResampler(format="fltp", layout="stereo", rate=_RATE)
                for frame in chain.from_iterable(map(resampler.resample, _until(heard.decode(audio=0), end))):
                    made.mux(spoken.encode(frame))
                made.mux(spoken.encode(None))
    except (FFmpegError, OSError, ValueError, IndexError) as error:
        raise GenerationFailed("ComfyUI made a sound that can't be read.") from error
    return target


def _until(frames: Iterator[AudioFrame], end: float) -> Iterator[AudioFrame]:
    return takewhile(lambda frame: frame.time is None or frame.time < end, frames)


def _plain_picture(path: Path) -> Path:
    target = _beside(path, "plain")
    target.write_bytes(without_texts(path.read_bytes()))
    with Image.open(target) as image:
        image.load()  # or a broken one would be noticed by its receiver only
    path.unlink()
    return target


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}-{what}{path.suffix}")


def _plain_video(path: Path) -> Path:
    if path.suffix not in (".mp4", ".mov", ".m4v"):
        return path  # made into an MP4 later on anyway
    target = _beside(path, "plain").with_suffix(".mp4")
    with av.open(path) as source, av.open(target, "w", options=_FAST_START) as made:
        streams = {
            stream.index: made.add_stream_from_template(stream)
            for stream in source.streams
            if isinstance(stream, VideoStream | AudioStream)
        }
        for packet in source.demux(*(source.streams[index] for index in streams)):
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
    path.unlink()
    return target
