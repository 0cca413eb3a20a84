"""A set of jobs and its files belong together: who has other files is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import pytest
import redis

from framegate.core.errors import ConfigError
from framegate.core.ports import ArtifactStore, WorkerInfo
from framegate.storage import installation
from framegate.storage.artifacts.bucket import BucketAccess, BucketStore
from framegate.storage.artifacts.folder import FolderStore
from framegate.storage.connections import connect
from framegate.storage.embedded import EmbeddedValkey
from framegate.storage.installation import MARK, Installation, read_mark
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.running import eventually
from tests.support.s3_servers import KEY_ID, SECRET, moto_server

OpenFiles = Callable[[str], ArtifactStore]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_VISIBLE_SECONDS", 0.5)


@pytest.fixture(scope="module", params=["folder", "bucket"])
def open_files(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenFiles]:
    """Open the files of a name, in a folder or below a prefix of a bucket."""
    folder = tmp_path_factory.mktemp("files")
    with ExitStack() as stack:
        if request.param == "folder":
            yield lambda name: FolderStore(folder / name)
            return
        server = stack.enter_context(moto_server())
        access = BucketAccess(server.endpoint, "us-east-1", KEY_ID, SECRET)
        yield lambda name: BucketStore(
            f"s3://films/{name}", access, folder / name, cache_bytes=2**20, redirect=False
        )


@pytest.fixture
def jobs(client: redis.Redis) -> Installation:
    return Installation(client, "fg:")


def claim(jobs: Installation, files: ArtifactStore, *, adopt: bool = False) -> None:
    jobs.claim_files(files, place="/data/files", adopt=adopt)


def announce(client: redis.Redis) -> WorkerStore:
    worker = WorkerStore(client, "w")
    worker.heartbeat(
        [],
        info=WorkerInfo(
            id="w", host="gpu-1", pid=1, device="cpu", version="1", models=("test",), started_at=0.0
        ),
    )
    return worker


def test_the_first_marks_and_the_others_compare(
    jobs: Installation, client: redis.Redis, open_files: OpenFiles, request: pytest.FixtureRequest
) -> None:
    ours, others = open_files(f"{request.node.name}-a"), open_files(f"{request.node.name}-b")
    claim(jobs, ours)  # by a worker, as on a machine that is started before the API host
    assert read_mark(ours) == client.get("fg:installation")
    for adopt in (True, False):
        claim(jobs, ours, adopt=adopt)
    jobs.check_files(ours, place="/data/files")
    announce(client)
    for adopt in (True, False):
        with pytest.raises(
            ConfigError, match="/data/files isn't the storage that this queue's other hosts use"
        ):
            claim(jobs, others, adopt=adopt)
    with pytest.raises(ConfigError, match="isn't the storage"):
        jobs.check_files(others, place="/data/files")
    assert read_mark(others) is None


def test_files_of_another_installation(
    jobs: Installation, client: redis.Redis, open_files: OpenFiles, request: pytest.FixtureRequest
) -> None:
    ours, theirs = open_files(f"{request.node.name}-a"), open_files(f"{request.node.name}-b")
    claim(jobs, ours, adopt=True)
    claim(Installation(client, "theirs:"), theirs, adopt=True)
    for adopt in (True, False):
        with pytest.raises(ConfigError) as raised:
            claim(jobs, theirs, adopt=adopt)
    assert str(read_mark(ours)) in raised.value.message
    assert str(read_mark(theirs)) in raised.value.message
    assert "queue.prefix" in raised.value.message


def test_lost_files_are_replaced_once_nobody_uses_them(
    jobs: Installation, client: redis.Redis, open_files: OpenFiles, request: pytest.FixtureRequest
) -> None:
    old, new = open_files(f"{request.node.name}-a"), open_files(f"{request.node.name}-b")
    claim(jobs, old, adopt=True)
    worker = announce(client)
    with pytest.raises(ConfigError, match="If the files are lost, stop all hosts"):
        claim(jobs, new, adopt=True)
    worker.withdraw()
    with client.pubsub() as api:  # type: ignore[no-untyped-call]  # untyped in redis-py
        api.subscribe("fg:keys:changed")
        assert api.get_message(timeout=10)
        with pytest.raises(ConfigError, match="If the files are lost, stop all hosts"):
            claim(jobs, new, adopt=True)
    eventually(lambda: client.pubsub_numsub("fg:keys:changed")[0][1] == 0, what="the end of the API process")
    with pytest.raises(ConfigError, match="isn't the storage"):  # a worker can't know that they are lost
        claim(jobs, new)
    claim(jobs, new, adopt=True)
    claim(jobs, new)
    assert read_mark(new) == client.get("fg:installation")
    with pytest.raises(ConfigError, match="another installation"):
        claim(jobs, old)


def test_files_that_outlived_their_valkey_can_be_used(
    jobs: Installation, client: redis.Redis, open_files: OpenFiles, request: pytest.FixtureRequest
) -> None:
    """They keep their mark, so that what belonged to jobs that nobody knows any more stays."""
    files = open_files(request.node.name)
    claim(jobs, files, adopt=True)
    before = read_mark(files)
    client.flushall()
    claim(jobs, files, adopt=True)
    claim(jobs, files)
    assert read_mark(files) == before
    assert client.get("fg:installation") != before


def test_of_two_that_start_with_folders_of_their_own_one_is_refused(
    client: redis.Redis, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    both = Barrier(2)

    def start(number: int) -> bool:
        with connect(valkey.url) as own:
            both.wait()
            try:
                claim(Installation(own, "fg:"), FolderStore(tmp_path / str(number)))
            except ConfigError:
                return False
            return True

    with ThreadPoolExecutor(2) as pool:
        for round_ in range(5):
            client.flushall()
            started = list(pool.map(start, (2 * round_, 2 * round_ + 1)))
            assert sorted(started) == [False, True]


def test_hosts_that_start_together_share_a_folder(
    client: redis.Redis, valkey: EmbeddedValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "_VISIBLE_SECONDS", 30.0)

    def start(_: int) -> None:
        with connect(valkey.url) as own:
            claim(Installation(own, "fg:"), FolderStore(tmp_path))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    assert (tmp_path / "files" / MARK).read_text() == client.get("fg:installation")
