"""New videos from finished ones."""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from framegate.core.errors import ArtifactGone, InvalidRequest, NotFound, QueueFull
from framegate.core.models import FrameRule
from framegate.core.types import MediaKind, StoryboardShot, Task
from tests.support.service_stand import BOB, PICTURE, PREVIEW, ServiceStand

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
