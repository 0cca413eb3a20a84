"""Make the video of a job: its shots one after another, joined into one file."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framegate.core.backend import Audio, Backend, FinishedFile, FrameStream, Output
from framegate.core.errors import GenerationFailed
from framegate.core.types import MediaKind, Shot
from framegate.media.video.audio import AudioTrack, skip, track_of
from framegate.media.video.codecs import VideoCodecs
from framegate.media.video.encode import encode_png
from framegate.media.video.join import Clip, VideoJoiner, open_clip
from framegate.media.video.probe import VideoInfo, describe_video
from framegate.worker.running.attempt import JobAttempt, ResultFile
from framegate.worker.running.frame_count import require_frame_count
from framegate.worker.running.source_video import SourceVideo

if TYPE_CHECKING:
    from framegate.core.backend import Frame

_JOINED = "video.mp4"


def make_video(attempt: JobAttempt, backend: Backend, codecs: VideoCodecs) -> ResultFile:
    """Run the job's shots and return their video, which begins with the video that the job extends.

    Frames are encoded, by one of the ``codecs``, while the next ones are made. Each shot after the first
    starts from the last frame of the one before.

    Raises:
        JobCancelled: As for `raise_if_stopped`.
        GenerationError: The backend failed, or its shots don't go together.
    """
    shots = attempt.job.shots
    source = _source_video(attempt)
    image: Path | None = None
    if source is not None:
        image = attempt.workdir / "continue-source.png"
        source.write_last_frame(image)
    with ExitStack() as stack:
        joiner: VideoJoiner | None = None
        for index, shot in enumerate(shots):
            output = backend.generate(shot, attempt.context(index, image))
            if len(shots) == 1 and source is None and (whole := _whole_video(output, shot)) is not None:
                return _video_file(whole, describe_video(whole))
            clip = _clip(output, shot)
            if joiner is None:
                encoders = stack.enter_context(codecs.for_video())
                first = source.clip() if source else clip
                path = attempt.workdir / _JOINED
                joiner = stack.enter_context(
                    VideoJoiner(path, width=first.width, height=first.height, fps=first.fps, codecs=encoders)
                )
                if first is not clip:
                    joiner.add(first)
            joiner.add(clip)
            if index + 1 < len(shots):
                image = attempt.workdir / f"continue-{index}.png"
                encode_png(joiner.last_frame, image)
        assert joiner is not None
        return _video_file(attempt.workdir / _JOINED, joiner.finish())


def _source_video(attempt: JobAttempt) -> SourceVideo | None:
    request = attempt.job.request
    path = attempt.input(request.video) if request.extends_video else None
    return SourceVideo(path, attempt.job.shots[0], attempt.check_cancelled) if path else None


def _whole_video(output: Output, shot: Shot) -> Path | None:
    """Return the backend's own MP4 of a job's only shot if all of it is kept, whatever its length."""
    if isinstance(output, FrameStream) or shot.frames_kept != shot.num_frames:
        return None
    path = _only_file(output)
    return path if path.suffix == ".mp4" else None


def _clip(output: Output, shot: Shot) -> Clip:
    """Return what is kept of a shot."""
    if not isinstance(output, FrameStream):
        return open_clip(_only_file(output), drop_first=shot.drop_first, keep_frames=shot.frames_kept)

    def audio() -> AudioTrack | None:
        whole = output.audio() if output.audio else None
        if whole is None:
            return None
        samples = np.asarray(whole.samples, np.float32)  # backends may give them in double precision
        return track_of(skip(Audio(samples, whole.sample_rate), shot.drop_first / shot.fps))

    return Clip(_kept_frames(output.frames, shot), audio, shot.width, shot.height, shot.fps)


def _only_file(output: Sequence[FinishedFile]) -> Path:
    if len(output) != 1:
        raise GenerationFailed(
            f"The backend returned {len(output)} files for a shot; exactly one video is expected."
        )
    return output[0].path


def _kept_frames(frames: "Iterator[Frame]", shot: Shot) -> "Iterator[Frame]":
    for number, frame in enumerate(require_frame_count(frames, shot.num_frames)):
        if shot.drop_first <= number < shot.drop_first + shot.frames_kept:
            yield frame


def _video_file(path: Path, info: VideoInfo) -> ResultFile:
    return ResultFile(
        path, MediaKind.VIDEO, info.width, info.height, info.num_frames, info.fps, info.duration
    )
