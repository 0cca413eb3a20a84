"""Videos that are made to go on: the source, then the new shots, in one file."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from framegate.core.backend import Audio, Backend, FinishedFile, FrameStream, GenerationContext, Output
from framegate.core.errors import GenerationFailed
from framegate.core.jobs import Job
from framegate.core.models import ModelSpec
from framegate.core.types import Artifact, MediaKind, MediaRef, Shot, Task
from framegate.media.video.encode import VideoEncoder
from framegate.media.video.frames import read_frames
from framegate.plugins.preview import PREVIEW
from framegate.plugins.preview.backend import PreviewBackend
from tests.support.audio import read_audio
from tests.support.shots_stand import SHORT, SIZE, Frame, Stand, difference

FPS = 8.0


def tone(seconds: float, *, rate: int = 48_000, channels: int = 2) -> Audio:
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    return Audio(np.tile(wave.astype(np.float32), (channels, 1)), rate)


def waves(count: int, width: int, height: int) -> list[Frame]:
    y, x = np.mgrid[0:height, 0:width]
    return [
        np.stack([127 + 100 * np.sin((x + 3 * n + 40 * c) / 25 + y / 30) for c in range(3)], -1).astype(
            np.uint8
        )
        for n in range(count)
    ]


def store_video(
    stand: Stand,
    *,
    count: int = 12,
    size: tuple[int, int] = (160, 96),
    fps: float = FPS,
    sound: Audio | None = None,
) -> MediaRef:
    path = stand.store.workdir("source") / "video"
    with VideoEncoder(path, width=size[0], height=size[1], fps=fps) as encoder:
        for frame in waves(count, *size):
            encoder.write(frame)
        encoder.finish(sound)
    stand.store.put(path, "inputs/video")
    return MediaRef(MediaKind.VIDEO, "inputs/video", *size, count, fps)


def extend(
    stand: Stand, source: MediaRef, spec: ModelSpec = PREVIEW, *, seconds: float = 2.0, fps: float = FPS
) -> tuple[Job, Artifact, list[Frame]]:
    # `image` decides the stand's task, and is what an extension starts from only by way of its video.
    values = {"video": source, "extends_video": True, "duration": seconds, "fps": fps, **SIZE}
    return stand.make(spec, image=None, **values)


class FilesBackend(Backend):
    """Makes files with the preview's frames, as a ComfyUI graph would."""

    def __init__(self, sound: bool) -> None:
        super().__init__()
        self._sound = sound
        self._preview = PreviewBackend()

    def generate(self, shot: Shot, context: GenerationContext) -> Sequence[FinishedFile]:
        output = self._preview.generate(shot, context)
        path = context.workdir / "made.mp4"
        with VideoEncoder(path, width=shot.width, height=shot.height, fps=shot.fps) as encoder:
            for frame in output.frames:
                encoder.write(frame)
            encoder.finish(tone(shot.num_frames / shot.fps) if self._sound else None)
        return [FinishedFile(path, MediaKind.VIDEO)]


class SoundingBackend(Backend):
    """The preview with a tone, in mono at a rate of its own."""

    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        frames = PreviewBackend().generate(shot, context).frames
        return FrameStream(frames, lambda: tone(shot.num_frames / shot.fps, rate=24_000, channels=1))


def assert_goes_on(frames: Sequence[Frame], source: Sequence[Frame]) -> None:
    """The source is whole, and what follows starts where it ends."""
    kept = len(source)
    assert max(difference(one, other) for one, other in zip(source, frames, strict=False)) < 6
    steps = [difference(one, other) for one, other in pairwise(frames)]
    assert 0.01 < steps[kept - 1] < 3 * max(steps[kept : kept + 3]) + 3


@pytest.mark.parametrize("spec", [PREVIEW, SHORT])
def test_the_source_goes_first(tmp_path: Path, spec: ModelSpec) -> None:
    stand = Stand(tmp_path, PreviewBackend())
    source = store_video(stand)
    job, artifact, frames = extend(stand, source, spec, seconds=12.0 if spec is SHORT else 2.0)
    added = 96 if spec is SHORT else 16
    assert [shot.continues for shot in job.shots] == [True] * len(job.shots)
    assert len(job.shots) == (2 if spec is SHORT else 1)
    assert {shot.task for shot in job.shots} == {Task.IMAGE_TO_VIDEO}
    assert (artifact.num_frames, artifact.duration) == (12 + added, (12 + added) / FPS)
    assert len(frames) == 12 + added
    assert_goes_on(frames, waves(12, 160, 96))


def test_another_size_and_rate(tmp_path: Path) -> None:
    stand = Stand(tmp_path, PreviewBackend())
    source = store_video(stand, count=30, size=(320, 192), fps=15.0)
    _, artifact, frames = extend(stand, source)
    assert (artifact.width, artifact.height, artifact.fps) == (160, 96, FPS)
    assert artifact.num_frames == len(frames) == 16 + 16
    large = list(read_frames(stand.store.path("inputs/video") or Path()))
    assert difference(frames[0], large[0][::2, ::2]) < 6


@pytest.mark.parametrize("size", [(160, 96), (320, 192)])
@pytest.mark.parametrize("sound", [False, True])
def test_backends_that_make_files(tmp_path: Path, size: tuple[int, int], sound: bool) -> None:
    stand = Stand(tmp_path, FilesBackend(sound))
    source = store_video(stand, size=size)
    _, artifact, frames = extend(stand, source)
    assert (artifact.num_frames, len(frames)) == (28, 28)
    assert heard(stand, artifact) == ([False, True] if sound else None)
    if size == (160, 96):
        assert_goes_on(frames, waves(12, 160, 96))


@pytest.mark.parametrize(
    ("backend", "before", "after"),
    [
        (PreviewBackend, False, False),
        (PreviewBackend, True, False),
        (SoundingBackend, True, True),
        (SoundingBackend, False, True),
    ],
)
def test_sound(tmp_path: Path, backend: type[Backend], before: bool, after: bool) -> None:
    stand = Stand(tmp_path, backend())
    source = store_video(stand, sound=tone(1.5) if before else None)
    _, artifact, _ = extend(stand, source)
    assert heard(stand, artifact) == ([before, after] if before or after else None)


def heard(stand: Stand, artifact: Artifact) -> list[bool] | None:
    """Is there sound in the source, and in what follows it? None: there is no track."""
    sound = read_audio(stand.store.path(artifact.key) or Path(), seconds=60)
    if sound is None:
        return None
    assert sound.samples.shape[1] / sound.sample_rate == pytest.approx(3.5, abs=0.05)
    seam = round(1.5 * sound.sample_rate)
    margin = sound.sample_rate // 10
    parts = sound.samples[:, margin : seam - margin], sound.samples[:, seam + margin : -margin]
    return [bool(np.abs(part).mean() > 0.1) for part in parts]


def test_a_source_that_is_gone(tmp_path: Path) -> None:
    stand = Stand(tmp_path, PreviewBackend())
    source = store_video(stand)
    stand.store.delete(source.key)
    with pytest.raises(GenerationFailed, match="input video was removed"):
        extend(stand, source)
