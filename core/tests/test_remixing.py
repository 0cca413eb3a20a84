"""New videos from finished ones and from those that clients send, and videos that are extended."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from framegate.core.errors import ArtifactGone, InvalidMedia, InvalidRequest, NotFound, QueueFull
from framegate.core.fitting import MAX_EXTENDED, fit
from framegate.core.jobs import Job
from framegate.core.models import Defaults, FrameRule, ModelSpec
from framegate.core.planning import plan
from framegate.core.ports import BytesSource, MediaSource, UrlSource
from framegate.core.submission import Submission
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, StoryboardShot, Task
from tests.support.service_stand import ALICE, BOB, PICTURE, PREVIEW, ServiceStand

PATIENT = replace(PREVIEW, frames=FrameRule(4, 1, 5, 1001))
"""Makes as many frames at once as anybody asks for here."""


@pytest.fixture
def stand(tmp_path: Path) -> ServiceStand:
    return ServiceStand(tmp_path, spec=PATIENT)


async def test_every_video_has_a_share_id_of_its_own(stand: ServiceStand) -> None:
    jobs = [await stand.made() for _ in range(3)]
    ids = {job.share_id for job in jobs}
    assert len(ids) == 3
    assert all(re.fullmatch(r"s_[0-9a-f]{32}", share_id) for share_id in ids)
    assert await stand.services.results.find_shared(jobs[1].share_id) == jobs[1]
    assert (await stand.submit(Task.TEXT_TO_IMAGE)).share_id == ""


async def test_a_remix_starts_from_its_own_copy_of_the_video(stand: ServiceStand) -> None:
    source = await stand.made()
    job = await stand.submit(remix_of=source.share_id, client=BOB)
    assert job.request.task == Task.VIDEO_TO_VIDEO
    video = job.request.video
    assert video is not None
    assert (video.kind, video.width, video.height, video.num_frames) == (MediaKind.VIDEO, 320, 180, 33)
    stand.artifacts.delete(source.artifacts[0].key)  # as retention does
    path = stand.artifacts.path(video.key)
    assert path is not None
    assert path.read_bytes() == b"film"


async def test_a_model_that_makes_no_videos_from_videos_starts_from_a_frame(tmp_path: Path) -> None:
    stand = ServiceStand(
        tmp_path, spec=replace(PATIENT, tasks=frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO}))
    )
    source = await stand.made()
    job = await stand.submit(remix_of=source.share_id)
    assert (job.request.task, job.request.video) == (Task.IMAGE_TO_VIDEO, None)
    assert job.request.image is not None
    assert stand.files() == {job.request.image.key}


@pytest.mark.parametrize(
    "longer", [{"num_frames": 200}, {"storyboard": (StoryboardShot("a wave", 2.0),) * 2}]
)
async def test_a_remix_in_several_shots_starts_from_a_frame(tmp_path: Path, longer: dict[str, Any]) -> None:
    stand = ServiceStand(tmp_path)
    source = await stand.made()
    job = await stand.submit(remix_of=source.share_id, **longer)
    assert job.request.task == Task.IMAGE_TO_VIDEO
    assert [shot.task for shot in job.shots] == [Task.IMAGE_TO_VIDEO] * len(job.shots)
    assert len(job.shots) > 1


async def test_a_model_that_can_neither(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, spec=replace(PREVIEW, tasks=frozenset({Task.TEXT_TO_VIDEO})))
    source = await stand.made()
    error = await stand.refused(InvalidRequest, remix_of=source.share_id)
    assert "can't do image-to-video" in error.message


async def test_what_is_not_made_yet_or_was_removed_cant_be_remixed(stand: ServiceStand) -> None:
    waiting = await stand.submit()
    error = await stand.refused(NotFound, remix_of=waiting.share_id)
    assert (error.param, "queued" in error.message) == ("remix_of", True)
    await stand.services.jobs.cancel(waiting.id)
    source = await stand.made()
    stand.artifacts.delete(source.artifacts[0].key)
    error = await stand.refused(ArtifactGone, remix_of=source.share_id)
    assert error.param == "remix_of"
    assert "source video was cleaned up" in error.message


async def test_a_video_that_is_removed_in_that_very_moment(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await stand.made()
    monkeypatch.setattr(stand.artifacts, "copy", _gone)  # after it was found
    await stand.refused(ArtifactGone, remix_of=source.share_id)


def _gone(key: str, new_key: str) -> None:
    raise NotFound("There is no such file.")


async def test_a_remix_that_is_refused_keeps_no_copy(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, spec=PATIENT, max_queued=1)
    source = await stand.made()
    await stand.submit()
    with pytest.raises(QueueFull):
        await stand.submit(remix_of=source.share_id, image=PICTURE)
    assert stand.files() == set()


FILM = BytesSource(b"film")
"""Becomes 1000×500, 48 frames at 24 a second, in the stand."""
SOURCE = MediaRef(MediaKind.VIDEO, "inputs/v", 320, 180, 48, 24.0)
PICTURES_ONLY = frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO})


def model(tasks: frozenset[Task] = frozenset(Task)) -> ModelSpec:
    return ModelSpec(
        id="wan",
        summary="",
        backend="",
        tasks=tasks,
        frames=FrameRule(4, 1, 5, 81),
        max_duration=1000.0,
        defaults=Defaults(fps=10.0),
    )


def extension(**values: Any) -> GenerationRequest:
    wanted: dict[str, Any] = {
        "model": "wan",
        "task": Task.IMAGE_TO_VIDEO,
        "prompt": "on",
        "video": SOURCE,
        **values,
    }
    return GenerationRequest(extends_video=True, **wanted)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(1, 3))
def test_an_extension_has_exactly_what_was_asked_for(num_frames: int, pieces: int) -> None:
    if pieces > num_frames:
        return
    spec = model()
    shots = plan(spec, fit(spec, extension(num_frames=num_frames, num_fragments=pieces)), seed=1)
    assert sum(shot.frames_kept for shot in shots) == num_frames
    for shot in shots:
        assert (shot.continues, shot.drop_first, shot.task) == (True, 1, Task.IMAGE_TO_VIDEO)
        assert shot.num_frames <= spec.frames.max
        assert spec.frames.nearest(shot.num_frames) == shot.num_frames


def test_an_extended_video_has_an_end() -> None:
    spec = model()
    long = replace(SOURCE, num_frames=round((MAX_EXTENDED - 5) * 24))
    fit(spec, extension(video=long, duration=5.0))
    with pytest.raises(InvalidRequest, match="at most 600 s") as refused:
        fit(spec, extension(video=long, duration=6.0))
    assert refused.value.param == "duration"


def test_a_model_that_starts_from_no_picture_extends_nothing() -> None:
    with pytest.raises(InvalidRequest, match="can't do image-to-video"):
        fit(model(tasks=frozenset({Task.TEXT_TO_VIDEO})), extension(duration=1.0))


async def submit(stand: ServiceStand, **values: Any) -> Job:
    """Submit a job from a source video that inherits the settings it leaves open."""
    remix_of = values.pop("remix_of", "")
    request: GenerationRequest[MediaSource] = GenerationRequest(
        model="preview", task=Task.TEXT_TO_VIDEO, prompt="a boat", **values
    )
    return await stand.services.jobs.submit(
        Submission(
            dialect="test",
            request=request,
            client=ALICE,
            remix_of=remix_of,
            remixes_video=request.video is not None,
            inherit_source_settings=True,
        )
    )


async def test_an_extension_keeps_a_copy_of_its_source(stand: ServiceStand) -> None:
    source = await stand.made()
    wanted = {"remix_of": source.share_id, "extends_video": True, "duration": 2.0}
    job = await submit(stand, **wanted)
    request = job.request
    assert (request.task, request.image) == (Task.IMAGE_TO_VIDEO, None)
    assert request.video is not None
    assert request.video.key != source.artifacts[0].key
    assert stand.artifacts.path(request.video.key) is not None
    assert (job.shots[0].width, job.shots[0].height) == (320, 176)
    assert request.video.key in job.files
    stand.artifacts.delete(source.artifacts[0].key)
    with pytest.raises(ArtifactGone):
        await submit(stand, **wanted)


async def test_a_video_that_is_sent(stand: ServiceStand) -> None:
    like = await submit(stand, video=FILM)
    assert like.request.task == Task.VIDEO_TO_VIDEO
    shot = like.shots[0]
    assert (shot.width, shot.height, shot.fps, shot.num_frames) == (992, 496, 24.0, 49)
    other = await submit(stand, video=FILM, width=160, fps=12.0, duration=1.0)
    assert (other.shots[0].width, other.shots[0].fps, other.shots[0].num_frames) == (160, 12.0, 13)
    longer = await submit(stand, video=FILM, extends_video=True, num_frames=7)
    assert longer.request.task == Task.IMAGE_TO_VIDEO
    assert longer.request.video is not None
    assert sum(part.frames_kept for part in longer.shots) == 7


async def test_a_model_without_video_to_video_gets_the_first_frame(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, spec=replace(PREVIEW, tasks=PICTURES_ONLY))
    job = await submit(stand, video=FILM)
    assert (job.request.task, job.request.video) == (Task.IMAGE_TO_VIDEO, None)
    assert job.request.image is not None
    [left] = stand.media.discarded
    assert left.kind == MediaKind.VIDEO


async def test_nothing_of_a_refused_one_stays(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, max_queued=1)
    await stand.submit()
    with pytest.raises(QueueFull):
        await submit(stand, video=FILM)
    stand = ServiceStand(tmp_path)
    with pytest.raises(InvalidMedia) as broken:
        await submit(stand, video=UrlSource("https://example.com/broken.png"))
    assert broken.value.param == "video"
    with pytest.raises(InvalidRequest):
        await submit(stand, video=FILM, extends_video=True, duration=1e6)
    assert len(stand.media.discarded) == len(stand.media.taken)
