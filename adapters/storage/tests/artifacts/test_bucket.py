"""Files in a bucket of a real S3 server."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from framegate.core.errors import NotFound, Unavailable
from framegate.storage.artifacts.bucket import BucketAccess, BucketStore
from framegate.storage.characters import ValkeyCharacterStore
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.orphans import remove_orphans
from tests.support.ports import free_port
from tests.support.s3_servers import KEY_ID, SECRET, S3Server, moto_server, rclone_server

FILM = bytes(range(256)) * 50_000
"""More than one part of a multipart upload."""


@pytest.fixture(scope="module", params=["rclone", "moto"])
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with (
        rclone_server(tmp_path_factory.mktemp("s3")) if request.param == "rclone" else moto_server() as found
    ):
        yield found


def open_bucket(
    s3: S3Server, folder: Path, *, secret: str = SECRET, cache_bytes: int = 2**30, redirect: bool = False
) -> BucketStore:
    access = BucketAccess(
        endpoint=s3.endpoint, region="us-east-1", access_key_id=KEY_ID, secret_access_key=secret
    )
    return BucketStore(s3.url, access, folder, cache_bytes=cache_bytes, redirect=redirect)


@pytest.fixture
def bucket(s3: S3Server, tmp_path: Path) -> BucketStore:
    return open_bucket(s3, tmp_path / "host")


def put(bucket: BucketStore, key: str, data: bytes = FILM) -> None:
    source = bucket.workdir("making") / "film.mp4"
    source.write_bytes(data)
    assert bucket.put(source, key) == len(data)
    assert not source.exists()


def test_what_one_host_puts_another_finds(bucket: BucketStore, s3: S3Server, tmp_path: Path) -> None:
    put(bucket, "results/a/1-0.mp4")
    other = open_bucket(s3, tmp_path / "other")
    path = other.path("results/a/1-0.mp4")
    assert path is not None
    assert path.read_bytes() == FILM
    assert path.is_relative_to(tmp_path / "other")
    folder = other.workdir("job")
    fetched = other.fetch("results/a/1-0.mp4", folder)
    assert fetched is not None
    assert (fetched.read_bytes(), fetched.parent) == (FILM, folder)


def test_every_host_gives_a_file_the_same_time(bucket: BucketStore, s3: S3Server, tmp_path: Path) -> None:
    put(bucket, "results/b/1-0.mp4", b"film")
    paths = [open_bucket(s3, tmp_path / name).path("results/b/1-0.mp4") for name in ("one", "two")]
    first, second = (path.stat().st_mtime_ns if path else None for path in paths)
    assert first == second is not None


def test_what_is_removed_is_gone_on_every_host(bucket: BucketStore, s3: S3Server, tmp_path: Path) -> None:
    put(bucket, "results/c/1-0.mp4", b"film")
    other = open_bucket(s3, tmp_path / "other")
    assert other.path("results/c/1-0.mp4") is not None
    bucket.delete("results/c/1-0.mp4")
    assert other.path("results/c/1-0.mp4") is None
    assert other.fetch("results/c/1-0.mp4", tmp_path) is None
    bucket.delete("results/c/1-0.mp4")
    assert not list((tmp_path / "other" / "cache").iterdir()), "no copy is left"


def test_a_copy_stays_when_its_source_goes(bucket: BucketStore) -> None:
    put(bucket, "results/d/1-0.mp4", b"film")
    bucket.copy("results/d/1-0.mp4", "inputs/copy")
    bucket.delete("results/d/1-0.mp4")
    path = bucket.path("inputs/copy")
    assert path is not None
    assert path.read_bytes() == b"film"
    with pytest.raises(NotFound):
        bucket.copy("results/nothing", "inputs/other")


def test_a_signed_link_needs_no_key(bucket: BucketStore, s3: S3Server, tmp_path: Path) -> None:
    put(bucket, "results/e/1-0.mp4", FILM)
    assert bucket.link("results/e/1-0.mp4", method="GET", seconds=60) is None
    redirecting = open_bucket(s3, tmp_path / "r", redirect=True)
    link = redirecting.link("results/e/1-0.mp4", method="GET", seconds=60)
    assert link is not None
    assert SECRET not in link
    part = requests.get(link, headers={"Range": "bytes=256-511"}, timeout=30)
    # rclone sends the part, yet calls it the whole.
    assert (part.status_code, part.content) == (200 if s3.name == "rclone" else 206, bytes(range(256)))
    assert part.headers["Content-Type"] == "video/mp4"
    head = redirecting.link("results/e/1-0.mp4", method="HEAD", seconds=60)
    assert head is not None
    assert requests.head(head, timeout=30).headers["Content-Length"] == str(len(FILM))
    with pytest.raises(NotFound):
        redirecting.link("results/nothing", method="GET", seconds=60)


def test_copies_on_this_host_have_their_bounds(s3: S3Server, tmp_path: Path) -> None:
    bucket = open_bucket(s3, tmp_path / "small", cache_bytes=250)
    cache = tmp_path / "small" / "cache"
    for name in "abc":
        put(bucket, f"results/{name}.png", name.encode() * 100)
    for name in "abc":
        assert bucket.path(f"results/{name}.png") is not None
    assert sum(path.stat().st_size for path in cache.iterdir()) == 200
    bucket.clean_up()
    assert len(list(cache.iterdir())) == 2, "a worker in the same folder only clears what was abandoned"
    bucket.clean_up(unused_for=60)
    assert len(list(cache.iterdir())) == 2
    bucket.clean_up(unused_for=-1)
    assert not list(cache.iterdir())
    assert bucket.path("results/a.png") is not None, "what was dropped is brought again"


def test_old_files_are_listed(bucket: BucketStore) -> None:
    put(bucket, "inputs/old.png", b"old")
    assert "inputs/old.png" in set(bucket.keys_older_than(-60))
    assert "inputs/old.png" not in set(bucket.keys_older_than(60))


def test_many_are_removed_at_once(bucket: BucketStore, tmp_path: Path, s3: S3Server) -> None:
    keys = [f"results/f/{number}.png" for number in range(5)]
    for key in keys[:4]:
        put(bucket, key, b"film")
    assert bucket.path(keys[0]) is not None
    assert bucket.delete_many(keys[:3] + keys[4:]) == {}
    assert set(bucket.keys_older_than(-60)) & set(keys) == {keys[3]}
    assert not list((tmp_path / "host" / "cache").iterdir()), "nor is a copy left"
    assert bucket.delete_many([]) == {}


def test_what_the_bucket_keeps_is_not_in_the_way(bucket: BucketStore, s3: S3Server) -> None:
    if s3.name == "rclone":
        pytest.skip("rclone has no bucket policies, which let the bucket refuse a removal")
    keys = [f"results/g/{number}.png" for number in range(3)]
    for key in keys:
        put(bucket, key, b"film")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::films/studio/{keys[1]}",
    }
    policy = f"{s3.endpoint}/films?policy"
    requests.put(policy, json={"Version": "2012-10-17", "Statement": [deny]}, timeout=30).raise_for_status()
    try:
        assert bucket.delete_many(keys).keys() == {keys[1]}
    finally:
        requests.delete(policy, timeout=30).raise_for_status()
    assert set(bucket.keys_older_than(-60)) & set(keys) == {keys[1]}


def test_ages_are_those_of_the_bucket(bucket: BucketStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, "inputs/young.png", b"young")
    own = time.time
    with monkeypatch.context() as clock:
        clock.setattr(time, "time", lambda: own() + 7200)
        assert "inputs/young.png" not in set(bucket.keys_older_than(3600))
        assert not [key for key in bucket.keys_older_than(-60) if key.startswith("probes/")]


async def test_only_our_own_files_are_removed(
    bucket: BucketStore, store: ValkeyJobStore, characters: ValkeyCharacterStore, client: redis.Redis
) -> None:
    orphan, foreign = f"inputs/{'0a' * 16}.png", "family/wedding.mp4"
    for key in (orphan, foreign):
        put(bucket, key, b"old")

    async def sweep() -> int:
        return await remove_orphans(store, characters, bucket, unknown_for=-60)

    assert await sweep() == 1
    left = set(bucket.keys_older_than(-60))
    assert orphan not in left
    assert foreign in left
    put(bucket, orphan, b"old")
    client.flushall()
    assert await sweep() == 0, "a Valkey that has forgotten everything knows nothing of these files"
    bucket.delete("installation")
    assert await sweep() == 1


def test_who_may_not_and_what_is_not_there_is_said(s3: S3Server, tmp_path: Path) -> None:
    open_bucket(s3, tmp_path / "a").check()
    if s3.name == "rclone":  # moto does not check signatures
        with pytest.raises(Unavailable, match="refuses"):
            open_bucket(s3, tmp_path / "b", secret="wrong").check()
    with pytest.raises(Unavailable, match="no such bucket"):
        open_bucket(S3Server("none", s3.endpoint, "s3://nothing/here"), tmp_path / "c").check()


def test_a_probe_asks_for_what_is_not_there(s3: S3Server, tmp_path: Path) -> None:
    open_bucket(s3, tmp_path / "a").probe()
    dead = S3Server("dead", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable, match="can't be reached"):
        open_bucket(dead, tmp_path / "b").probe()


def test_a_dead_server_is_unavailable_soon(tmp_path: Path) -> None:
    dead = S3Server("dead", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="can't be reached") as caught:
        open_bucket(dead, tmp_path).path("results/a")
    assert time.monotonic() - began < 15
    assert SECRET not in caught.value.message
