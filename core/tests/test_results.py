"""Files of results, and videos by their share ids."""

import math
from pathlib import Path

import pytest

from framegate.core.errors import ArtifactGone, NotFound
from framegate.core.results import ResultAccess
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


async def test_pictures_of_a_result_are_made_once(stand: ServiceStand) -> None:
    job = await stand.made()
    video = job.artifacts[0]
    made: list[bytes] = []

    def make(source: Path, picture: Path) -> None:
        made.append(source.read_bytes())
        picture.write_bytes(b"picture")

    for _ in range(2):
        path = await stand.services.results.variant_path(video, Variant.THUMBNAIL, make)
        assert path.read_bytes() == b"picture"
    assert len(made) == 1
    assert video.variant_key(Variant.THUMBNAIL) in job.files
    stand.artifacts.delete(video.key)
    with pytest.raises(ArtifactGone):
        await stand.services.results.variant_path(video, Variant.THUMBNAIL, make)

    def make_too_late(source: Path, picture: Path) -> None:
        source.unlink()  # as retention does meanwhile
        picture.write_bytes(b"picture")

    other = (await stand.made()).artifacts[0]
    with pytest.raises(ArtifactGone):
        await stand.services.results.variant_path(other, Variant.SPRITESHEET, make_too_late)
    assert stand.artifacts.path(other.variant_key(Variant.SPRITESHEET)) is None


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
    results = ResultAccess(stand.store, stand.artifacts, link_seconds=own)
    artifact = Artifact(MediaKind.VIDEO, "results/a.mp4", "video/mp4", 4, 64, 64)
    assert await results.link(artifact, method="GET", seconds=seconds) == f"GET results/a.mp4 {lives:g}"
