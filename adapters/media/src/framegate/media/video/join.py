"""Join clips into one video."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec import Struct

from framegate.media.video.audio import AudioTrack, read_track
from framegate.media.video.codecs import X264, VideoCodec
from framegate.media.video.encode import VideoEncoder, exact_rate
from framegate.media.video.frames import read_frames
from framegate.media.video.probe import VideoInfo, describe_video
from framegate.media.video.soundtrack import Soundtrack

if TYPE_CHECKING:
    from framegate.core.backend import Frame

TOLERANCE = 0.01
"""How far, relatively, a clip's frame rate may be off (23.976 goes with 24)."""


class Clip(Struct, frozen=True):
    """Frames to be joined with those of other clips, and their audio.

    ``frames`` (uint8, height × width × 3, RGB) are iterated once, and ``audio``, which starts with the first
    of them, is called after the last. With ``resampled`` the audio is converted to that of the other clips.
    """

    frames: "Iterator[Frame]"
    audio: Callable[[], AudioTrack | None]
    width: int
    height: int
    fps: float
    resampled: bool = False


def open_clip(path: Path, *, drop_first: int = 0, keep_frames: int | None = None) -> Clip:
    """Return the clip in a video file: ``keep_frames`` frames (else all) after the first ``drop_first``.

    Raises:
        InvalidMedia: The file is not a valid video, or is damaged. Iterating the frames may find it, too.
    """
    info = describe_video(path)

    end = None if keep_frames is None else drop_first + keep_frames

    def audio() -> AudioTrack:
        seconds = (info.num_frames if end is None else end) / info.fps
        return read_track(path, seconds=seconds, skip=drop_first / info.fps)

    frames = islice(read_frames(path), drop_first, end)
    return Clip(frames, audio, info.width, info.height, info.fps, resampled=True)


class VideoJoiner:
    """Encode clips one after another as one MP4, as their frames arrive.

    Their audio follows, with silence where a clip has none. When the joiner is used as a context manager, the
    file is removed unless `finish` returned and the block raised nothing. ``codecs`` are as for
    `VideoEncoder`.
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
        self._encoder = VideoEncoder(path, width=width, height=height, fps=fps, codecs=codecs)
        self._size = width, height
        self._fps = fps
        self._soundtrack = Soundtrack(path.with_name(f"{path.name}.sound"))
        self._last_frame: Frame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoder.__exit__(kind, error, trace)
        self._soundtrack.remove()

    @property
    def last_frame(self) -> "Frame":
        """The last frame of the last clip (uint8, height × width × 3, RGB).

        Raises:
            ValueError: No clip was added.
        """
        if self._last_frame is None:
            raise ValueError("no clip was added")
        return self._last_frame

    def add(self, clip: Clip) -> None:
        """Encode the frames of ``clip`` and take its audio.

        Raises:
            ValueError: The clip has no frames, or another size or frame rate than the video.
            InvalidMedia: The clip's file is damaged.
        """
        if (clip.width, clip.height) != self._size:
            sizes = sorted([self._size, (clip.width, clip.height)])
            listed = ", ".join(f"{width}×{height}" for width, height in sizes)
            raise ValueError(f"videos of different sizes can't be joined: {listed}")
        if abs(clip.fps / self._fps - 1) > TOLERANCE:
            raise ValueError(f"a video of {clip.fps:g} frames a second can't be joined at {self._fps:g}")
        count = 0
        for frame in clip.frames:
            self._encoder.write(frame)
            self._last_frame = frame
            count += 1
        if not count:
            raise ValueError("a clip without frames can't be joined")
        self._soundtrack.add(clip.audio(), count / exact_rate(self._fps), resampled=clip.resampled)

    def finish(self) -> VideoInfo:
        """Write the rest of the video and its audio, and return what the file holds.

        Raises:
            ValueError: No clip was added, or the audio of one is neither mono nor stereo.
            GenerationFailed: Clips that are not to be resampled differ in sample rate or channels.
        """
        return self._encoder.finish(self._soundtrack.join())
