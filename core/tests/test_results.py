"""Files of results, and videos by their share ids."""

import asyncio
import math
from pathlib import Path

import pytest

from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import ArtifactGone, NotFound
from framegate.core.results import ResultAccess
from framegate.core.testing import StaticVariantMaker
from framegate.core.types import Artifact, MediaKind, Variant
from tests.support.service_stand import ALICE, ServiceStand


@pytest.fixture
def stand(tmp_path: Path) -> ServiceStand:
    return ServiceStand(tmp_path)


async def test_a_result_and_its_removal(stand: ServiceStand) -> None:
    artifact = Artifact(MediaKind.VIDEO, "results/a.mp4", "video/mp4", 4, 64, 64)
    with pytest.raises(ArtifactGone, match="its retention time is over"):
        await stand.services.results.path(artifact)
    (stand.folder / "results").mkdir()
    (stand.folder / artifact.key).write_bytes(b"film")
    assert (await stand.services.results.path(artifact)).read_bytes() == b"film"


async def test_images_of_a_result_are_made_once_in_the_share_of_its_owner(stand: ServiceStand) -> None:
    job = await stand.made(client=ALICE)
    video = job.artifacts[0]
    results = stand.services.results
    for _ in range(2):
        path = await results.variant_path(job, video, Variant.THUMBNAIL, quality=7)
        assert path.read_bytes().startswith(Variant.THUMBNAIL.encode())
    assert stand.variants.made == [(Variant.THUMBNAIL, 7, ALICE.name)]
    assert video.variant_key(Variant.THUMBNAIL) in job.files
    stand.artifacts.delete(video.key)
    with pytest.raises(ArtifactGone):
        await results.variant_path(job, video, Variant.THUMBNAIL)


class HeldVariantMaker(StaticVariantMaker):
    """Makes nothing until it is released, and notes what was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = asyncio.Event(), asyncio.Event()
        self.cancelled = 0

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        self.begun.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await super().make_variant(source, target, variant, quality=quality, owner=owner)


class LateVariantMaker(StaticVariantMaker):
    """Is finished just when retention removes the result."""

    async def make_variant(
        self, source: Path, target: Path, variant: Variant, *, quality: int, owner: str
    ) -> None:
        await super().make_variant(source, target, variant, quality=quality, owner=owner)
        await FILE_THREADS.run(source.unlink)


async def test_a_result_that_is_removed_meanwhile_leaves_no_image(tmp_path: Path) -> None:
    stand = ServiceStand(tmp_path, variants=LateVariantMaker())
    job = await stand.made()
    video = job.artifacts[0]
    with pytest.raises(ArtifactGone):
        await stand.services.results.variant_path(job, video, Variant.SPRITESHEET)
    assert stand.artifacts.path(video.variant_key(Variant.SPRITESHEET)) is None


async def test_all_who_want_an_image_at_once_wait_for_the_same_one(tmp_path: Path) -> None:
    maker = HeldVariantMaker()
    stand = ServiceStand(tmp_path, variants=maker)
    job = await stand.made()
    calls = [
        asyncio.create_task(stand.services.results.variant_path(job, job.artifacts[0], Variant.THUMBNAIL))
        for _ in range(60)
    ]
    await maker.begun.wait()
    for leaving in calls[:20]:
        leaving.cancel()
    await asyncio.wait(calls[:20])
    assert maker.cancelled == 0, "others still wait"
    maker.released.set()
    assert len({await call for call in calls[20:]}) == 1
    assert len(maker.made) == 1


async def test_an_image_that_nobody_waits_for_any_more_is_given_up(tmp_path: Path) -> None:
    maker = HeldVariantMaker()
    stand = ServiceStand(tmp_path, variants=maker)
    job = await stand.made()
    calls = [
        asyncio.create_task(stand.services.results.variant_path(job, job.artifacts[0], Variant.THUMBNAIL))
        for _ in range(3)
    ]
    await maker.begun.wait()
    for leaving in calls:
        leaving.cancel()
    await asyncio.wait(calls)
    assert maker.cancelled == 1
    assert not await FILE_THREADS.run(lambda: list((tmp_path / "work").iterdir())), (
        "no scratch folder remains"
    )
    maker.released.set()
    assert await stand.services.results.variant_path(job, job.artifacts[0], Variant.THUMBNAIL)


@pytest.mark.parametrize("share_id", ["s_" + "0" * 32, "", "s_1", "nonsense", "s_" + "G" * 32])
async def test_an_unknown_share_id(stand: ServiceStand, share_id: str) -> None:
    with pytest.raises(NotFound) as caught:
        await stand.services.results.find_shared(share_id)
    assert caught.value.param == "remix_of"
    assert not isinstance(caught.value, ArtifactGone)


async def test_an_owner_can_be_asked_for(stand: ServiceStand) -> None:
    source = await stand.made(client=ALICE)
    assert await stand.services.results.find_shared(source.share_id, "alice") == source
    with pytest.raises(NotFound):
        await stand.services.results.find_shared(source.share_id, "bob")


@pytest.mark.parametrize(
    ("own", "seconds", "lives"), [(3600.0, math.inf, 3600.0), (60.0, math.inf, 60.0), (60.0, 7.0, 7.0)]
)
async def test_links_to_the_store_live_as_long_as_the_shorter_limit(
    stand: ServiceStand, monkeypatch: pytest.MonkeyPatch, own: float, seconds: float, lives: float
) -> None:
    def link(key: str, *, method: str, seconds: float) -> str:
        return f"{method} {key} {seconds:g}"

    monkeypatch.setattr(stand.artifacts, "link", link)
    results = ResultAccess(stand.store, stand.artifacts, stand.variants, link_seconds=own)
    artifact = Artifact(MediaKind.VIDEO, "results/a.mp4", "video/mp4", 4, 64, 64)
    assert await results.link(artifact, method="GET", seconds=seconds) == f"GET results/a.mp4 {lives:g}"
