"""What somebody who asks the preview backend for images and videos gets."""
# PyAV's annotations of streams and packets are incomplete:
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from framegate.core import styles as core_styles
from framegate.core.errors import GenerationFailed, JobCancelled
from framegate.core.types import Shot, Task
from framegate.plugins.preview.backend import PreviewBackend
from framegate.plugins.preview.styles import STYLES

Frame = NDArray[np.uint8]
Make = Callable[..., list[Frame]]

WIDTH, HEIGHT = 160, 96
WATERMARK_HEIGHT, WATERMARK_WIDTH = 24, 64
"""The watermark lies within this much of the upper right corner."""


@dataclass
class Job:
    workdir: Path
    image: Path | None = None
    last_image: Path | None = None
    video: Path | None = None
    num_partial_images: int = 3
    cancel_at: int = -1
    reports: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    shown: list[Frame] = field(default_factory=list[Frame])

    def report(self, step: int, total: int, message: str = "") -> None:
        if step == self.cancel_at:
            raise JobCancelled
        self.reports.append((step, total))

    def report_partial_image(self, render: Callable[[], Frame]) -> None:
        self.shown.append(render())

    def check_cancelled(self) -> None:
        return


def a_shot(task: Task, **changes: Any) -> Shot:
    shot = Shot(
        task=task,
        prompt="a boat on the sea",
        width=WIDTH,
        height=HEIGHT,
        seed=5,
        num_inference_steps=4,
        guidance_scale=5.0,
        num_frames=6 if task.output == "video" else 1,
        fps=12.0 if task.output == "video" else 0.0,
    )
    return msgspec.structs.replace(shot, **changes)


def a_photo(width: int = 240, height: int = 180) -> Image.Image:
    """Bright everywhere, with a gradient, a disc and stripes."""
    y, x = np.mgrid[0:height, 0:width]
    red = 110 + 120 * x / width
    green = np.where(np.hypot(x - width * 0.6, y - height * 0.5) < height * 0.25, 220, 120)
    blue = 100 + 60 * np.sin(x / 9.0) + 60 * y / height
    return Image.fromarray(np.stack([red, green, blue], axis=-1).clip(0, 255).astype(np.uint8))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    photo, last = tmp_path / "photo.png", tmp_path / "last.png"
    a_photo().save(photo)
    a_photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(last)
    return Job(tmp_path, image=photo, video=a_video(tmp_path / "video.mp4"))


def a_video(path: Path, count: int = 8, fps: int = 12) -> Path:
    """A white bar that moves to the right by 8 pixels a frame, over a lit ground."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number in range(count):
            pixels = np.full((96, 128, 3), 90, np.uint8)
            pixels[:, 8 + number * 8 : 16 + number * 8] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def bar_place(frame: Frame) -> int:
    return int(frame[HEIGHT // 2 :, :, 1].mean(axis=0).argmax())


@pytest.fixture
def make(job: Job) -> Make:
    def make(task: Task, **changes: Any) -> list[Frame]:
        backend = PreviewBackend()
        backend.load("cpu")
        return list(backend.generate(a_shot(task, **changes), job).frames)

    return make


def difference(first: Frame, second: Frame) -> float:
    return float(np.abs(first.astype(np.int16) - second.astype(np.int16)).mean())


def without_watermark(frame: Frame) -> Frame:
    result = frame.copy()
    result[:WATERMARK_HEIGHT, -WATERMARK_WIDTH:] = 0
    return result


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize(("width", "height"), [(160, 96), (96, 160), (64, 64), (16, 16), (2, 2), (46, 30)])
def test_frames_have_exactly_the_size_and_number_asked_for(
    make: Make, task: Task, width: int, height: int
) -> None:
    frames = make(task, width=width, height=height, num_frames=3)
    assert [frame.shape for frame in frames] == [(height, width, 3)] * 3
    assert all(frame.dtype == np.uint8 and frame.flags.c_contiguous for frame in frames)


def test_images_may_have_odd_sizes(make: Make) -> None:
    (frame,) = make(Task.TEXT_TO_IMAGE, width=101, height=67)
    assert frame.shape == (67, 101, 3)


@pytest.mark.parametrize("task", list(Task))
def test_the_same_shot_gives_the_same_bytes(make: Make, task: Task) -> None:
    first, second = make(task, style="festive"), make(task, style="festive")
    assert [frame.tobytes() for frame in first] == [frame.tobytes() for frame in second]


@pytest.mark.parametrize("task", [Task.TEXT_TO_IMAGE, Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO])
def test_another_seed_gives_other_frames(make: Make, task: Task) -> None:
    assert difference(make(task, seed=1)[-1], make(task, seed=2)[-1]) > 0.5


def test_another_prompt_gives_another_scene(make: Make) -> None:
    assert difference(make(Task.TEXT_TO_VIDEO)[0], make(Task.TEXT_TO_VIDEO, prompt="a city at night")[0]) > 10


def test_several_images_use_the_seeds_that_follow(make: Make) -> None:
    first, second = make(Task.TEXT_TO_IMAGE, seed=8, num_frames=2)
    assert np.array_equal(first, make(Task.TEXT_TO_IMAGE, seed=8)[0])
    assert np.array_equal(second, make(Task.TEXT_TO_IMAGE, seed=9)[0])


def test_every_seed_redoes_an_image_in_another_way(make: Make) -> None:
    redone = make(Task.IMAGE_TO_IMAGE, seed=1, num_frames=10)
    assert len({image.tobytes() for image in redone}) == 10


@pytest.mark.parametrize("task", [Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE])
def test_partial_images_come_nearer_to_the_image(make: Make, job: Job, task: Task) -> None:
    (image,) = make(task)
    distances = [difference(without_watermark(partial), without_watermark(image)) for partial in job.shown]
    assert len(distances) == 3
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] > 0


def test_the_number_of_steps_changes_nothing(make: Make) -> None:
    few, many = (make(Task.TEXT_TO_IMAGE, num_inference_steps=steps)[0] for steps in (1, 900))
    assert np.array_equal(few, many)


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO])
def test_videos_move_gently_in_every_frame(make: Make, task: Task) -> None:
    frames = make(task, num_frames=24)
    steps = [difference(first, second) for first, second in pairwise(frames)]
    assert min(steps) > 0.01
    assert max(steps) < 12


def test_a_photo_begins_as_itself_and_moves_off_from_rest(make: Make) -> None:
    frames = make(Task.IMAGE_TO_VIDEO, num_frames=40)
    cropped = np.asarray(ImageOps.fit(a_photo(), (WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    assert np.array_equal(without_watermark(frames[0]), without_watermark(cropped))
    way = [difference(frames[0], frame) for frame in frames]
    assert way[2] < 0.15 * way[20]
    assert way[-1] - way[-3] < 0.15 * way[20]
    assert way[-1] > 2.0


def test_a_photo_never_shows_borders_while_the_camera_moves(make: Make) -> None:
    last = make(Task.IMAGE_TO_VIDEO, num_frames=10, fps=1.0)[-1]
    cropped = np.asarray(ImageOps.fit(a_photo(), (WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    for edge, inside in (
        (np.s_[0, :60], np.s_[:20, :80]),
        (np.s_[-1, :], np.s_[-20:, :]),
        (np.s_[:, 0], np.s_[:, :40]),
        (np.s_[WATERMARK_HEIGHT:, -1], np.s_[WATERMARK_HEIGHT:, -40:]),
    ):
        assert last[edge].min() > cropped[inside].min() - 10
        assert last[edge].std() > 2


def test_a_photo_of_another_shape_is_cropped_and_not_stretched(make: Make, job: Job, tmp_path: Path) -> None:
    tall = Image.new("RGB", (100, 300), (200, 40, 40))
    tall.paste((40, 200, 40), (0, 120, 100, 180))
    job.image = tmp_path / "tall.png"
    tall.save(job.image)
    first = make(Task.IMAGE_TO_VIDEO)[0]
    assert np.all(first[HEIGHT // 2, :, 1] > 150)
    assert first[30:].std(axis=1).max() < 90


def test_the_next_shot_goes_on_without_a_jump(make: Make, job: Job, tmp_path: Path) -> None:
    job.image = None
    last = make(Task.TEXT_TO_VIDEO, prompt="a lake", num_frames=12)[-1]
    job.image = tmp_path / "handover.png"
    Image.fromarray(last).save(job.image)
    frames = make(Task.IMAGE_TO_VIDEO, prompt="the wind rises", num_frames=24, continues=True)
    assert difference(last, frames[0]) < 0.05
    assert difference(frames[0], frames[1]) < 2.0
    assert difference(frames[0], frames[-1]) > 1.0


def test_a_video_ends_with_the_last_image_where_one_is_given(make: Make, job: Job, tmp_path: Path) -> None:
    job.last_image = tmp_path / "last.png"
    frames = make(Task.IMAGE_TO_VIDEO, num_frames=12)
    mirrored = a_photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert np.array_equal(
        without_watermark(frames[-1]),
        without_watermark(np.asarray(ImageOps.fit(mirrored, (WIDTH, HEIGHT), Image.Resampling.LANCZOS))),
    )


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.IMAGE_TO_IMAGE])
def test_every_style_changes_the_image(make: Make, task: Task, style: str) -> None:
    plain, styled = make(task)[-1], make(task, style=style)[-1]
    assert styled.shape == plain.shape
    assert difference(plain, styled) > 2


def test_styles_differ_from_each_other(make: Make) -> None:
    images = [make(Task.TEXT_TO_IMAGE, style=style)[0] for style in STYLES]
    assert min(difference(a, b) for i, a in enumerate(images) for b in images[:i]) > 1.5


def test_there_is_a_look_for_every_style_that_requests_may_name() -> None:
    assert set(STYLES) == set(core_styles.STYLES)


@pytest.mark.parametrize("task", [Task.TEXT_TO_VIDEO, Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE])
def test_what_a_style_tells_models_is_not_drawn(make: Make, task: Task) -> None:
    words = "a boat on the sea"
    told = make(task, style="golden", prompt=f"{words}\nin the desert, at night", caption=words)
    plain = make(task, style="golden", prompt=words)
    assert all(np.array_equal(one, other) for one, other in zip(told, plain, strict=True))


@pytest.mark.parametrize("style", ["handheld", "selfie", "kakalaka"])
def test_a_shaking_camera_shows_no_borders(make: Make, style: str) -> None:
    for frame in make(Task.IMAGE_TO_VIDEO, style=style, num_frames=10):
        edges = np.concatenate([frame[0, :40], frame[-1], frame[:, 0]])
        assert float(edges.mean()) > 60


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "   ",
        "😀🪭👺",
        "一只猫在海边",
        "first\nsecond\tthird\x00\u202e",
        "a " * 4000,
        "x" * 10_000,
        "\ud800",
    ],
)
def test_any_prompt_can_be_drawn(make: Make, prompt: str) -> None:
    (frame,) = make(Task.TEXT_TO_IMAGE, prompt=prompt)
    assert frame.std() > 5


def test_a_source_image_is_changed_as_far_as_strength_says(make: Make) -> None:
    photo = np.asarray(ImageOps.fit(a_photo(), (WIDTH, HEIGHT), Image.Resampling.LANCZOS))
    none, little, default, much = (
        difference(
            without_watermark(photo), without_watermark(make(Task.IMAGE_TO_IMAGE, strength=strength)[0])
        )
        for strength in (0.0, 0.3, None, 1.0)
    )
    assert none == 0.0
    assert none < little < default < much


def test_a_source_video_keeps_its_pace_and_runs_back_when_it_is_too_short(make: Make) -> None:
    frames = make(Task.VIDEO_TO_VIDEO, num_frames=20, fps=12.0, strength=0.0)
    places = [bar_place(frame) for frame in frames]
    assert places[:8] == sorted(places[:8])
    assert places[7] > places[0] + 60
    assert abs(places[14] - places[0]) < 6
    assert all(frame.mean() > 60 for frame in frames)


def test_a_source_video_is_resampled_to_the_frame_rate(make: Make) -> None:
    at_source_rate = make(Task.VIDEO_TO_VIDEO, num_frames=8, fps=12.0, strength=0.0)
    doubled = make(Task.VIDEO_TO_VIDEO, num_frames=16, fps=24.0, strength=0.0)
    assert [bar_place(frame) for frame in doubled[::2]] == [bar_place(frame) for frame in at_source_rate]


def test_a_source_video_is_regraded(make: Make) -> None:
    plain = make(Task.VIDEO_TO_VIDEO, strength=0.0)[0]
    assert difference(plain, make(Task.VIDEO_TO_VIDEO)[0]) > 2
    assert difference(plain, make(Task.VIDEO_TO_VIDEO, style="nostalgic")[0]) > 2


@pytest.mark.parametrize("size", [64, 200, 1024])
def test_every_frame_carries_a_small_mark(make: Make, job: Job, tmp_path: Path, size: int) -> None:
    job.image = tmp_path / "grey.png"
    Image.new("RGB", (size, size), (150, 150, 150)).save(job.image)
    for frame in make(Task.IMAGE_TO_VIDEO, width=size, height=size, num_frames=2):
        marked = np.abs(frame.astype(int) - 150).max(axis=-1) > 8
        assert 0 < marked.mean() < 0.12
        assert not marked[size // 3 :].any()


def test_progress_is_reported_for_every_frame(make: Make, job: Job) -> None:
    make(Task.TEXT_TO_VIDEO, num_frames=4)
    assert job.reports == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_cancelled_job_stops_at_the_next_frame(make: Make, job: Job) -> None:
    job.cancel_at = 3
    with pytest.raises(JobCancelled):
        make(Task.TEXT_TO_VIDEO)
    assert len(job.reports) == 2


@pytest.mark.parametrize("task", [Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO, Task.VIDEO_TO_VIDEO])
def test_an_unreadable_input_fails_with_a_sentence(make: Make, job: Job, tmp_path: Path, task: Task) -> None:
    job.image = job.video = tmp_path / "broken"
    job.image.write_bytes(b"neither an image nor a video")
    with pytest.raises(GenerationFailed, match="can't be read"):
        make(task)
    job.image = job.video = None
    with pytest.raises(GenerationFailed, match="has none"):
        make(task)


def test_long_videos_are_made_one_frame_at_a_time(job: Job) -> None:
    shot = a_shot(Task.TEXT_TO_VIDEO, num_frames=100_000)
    stream = PreviewBackend().generate(shot, job)
    assert [next(iter(stream.frames)).shape for _ in range(3)] == [(HEIGHT, WIDTH, 3)] * 3
