"""The server of this machine's config shows as much of a job as a remote one does."""

from pathlib import Path

from framegate.cli.servers.local import LocalServer
from framegate.core.estimates import work_of
from framegate.core.ports import ModelPace
from tests.support.service_stand import ServiceStand


async def test_a_waiting_job_has_its_place_and_an_estimate(tmp_path: Path) -> None:
    work = work_of(await ServiceStand(tmp_path / "other").submit())
    stand = ServiceStand(tmp_path)
    stand.store.paces["preview"] = ModelPace(10 / work, 20.0, 3)
    _, second = [await stand.submit() for _ in range(2)]
    server = LocalServer(stand.services)
    assert (await server.get_job(second.id)).waiting == "position 2, about 30 s"
    watched = server.watch_job(second.id)
    assert (await anext(watched)).waiting == "position 2, about 30 s"
    await watched.aclose()
    await server.cancel_job(second.id)
    ended = await server.get_job(second.id)
    assert (ended.waiting, ended.position, ended.eta_seconds) == ("", None, None)
