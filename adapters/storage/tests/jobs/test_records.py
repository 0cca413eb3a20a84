"""What is known of a job without reading its JSON, and what is made of damaged records."""

import json
from typing import cast

import pytest
import redis
from msgspec.structs import replace

from framegate.core.errors import UnreadableRecord
from framegate.core.jobs import Job
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage.jobs.records import FILE_FIELDS, decode_job, files_of
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.sample_jobs import make_job

VIDEO = Artifact(MediaKind.VIDEO, "results/a/1-0.mp4", "video/mp4", 12, 64, 64)


def fields_of(client: redis.Redis, job_id: str) -> dict[str, str]:
    return cast("dict[str, str]", client.hgetall(f"fg:job:{job_id}"))


def with_partial_images(job: Job) -> Job:
    return replace(job, request=replace(job.request, num_partial_images=2))


async def finished(store: ValkeyJobStore, client: redis.Redis) -> dict[str, str]:
    await store.submit(with_partial_images(make_job("a", input_bytes=5)), limits=Limits())
    worker = WorkerStore(client, "w")
    job = worker.claim("q-test", ["test"])
    assert job is not None
    worker.succeed(job, (VIDEO,))
    return fields_of(client, "a")


async def test_the_files_of_a_job_are_known_whatever_has_become_of_its_json(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    fields = await finished(store, client)
    expected = decode_job(fields).files
    assert len(expected) == 8
    kept = {name: fields[name] for name in FILE_FIELDS if name in fields}
    assert files_of(kept) == expected
    assert files_of({**kept, "job": "{", "artifacts": "nonsense", "schema": "x"}) == expected


async def test_the_files_of_jobs_of_earlier_versions_are_read_from_their_json(
    store: ValkeyJobStore, client: redis.Redis
) -> None:
    fields = await finished(store, client)
    job = decode_job(fields)
    # A worker of an earlier version stores partial images under other keys, which were known before.
    of_earlier_worker = tuple(key for key in job.files if key not in job.partial_image_keys)
    assert len(of_earlier_worker) == 6
    for missing in (["files"], ["result_files"], ["files", "result_files"]):
        earlier = {name: text for name, text in fields.items() if name not in missing}
        assert files_of(earlier) == (of_earlier_worker if "result_files" in missing else job.files)
        with pytest.raises(UnreadableRecord, match="files is damaged"):
            files_of({**earlier, "job": "{", "artifacts": "["})


@pytest.mark.parametrize("damaged", ["{", "7", '{"keys": []}', "[1]", "\\", "[" * 10_000])
async def test_a_damaged_list_of_files_is_an_error_of_its_kind(damaged: str) -> None:
    with pytest.raises(UnreadableRecord):
        files_of({"files": damaged, "result_files": "[]"})
    with pytest.raises(UnreadableRecord):
        files_of({"files": "[]", "result_files": damaged})


DAMAGE = {
    "cut JSON": {"job": '{"id":"a","mod'},
    "empty JSON": {"job": ""},
    "a number": {"job": "7"},
    "deep JSON": {"job": "[" * 100_000},
    "changed types": {"job": json.dumps({"id": "a", "model": 7})},
    "another state": {"state": "dreaming"},
    "no number": {"attempt": "many"},
    "no place": {"seq": "first"},
    "no schema": {"schema": "latest"},
    "a negative schema": {"schema": "-1"},
    "a huge schema of results": {"result_schema": "1e999", "artifacts": "[]"},
    "not a number": {"progress": "nan"},
    "a time without end": {"started_at": "inf"},
    "a time before all": {"finished_at": "-1e300"},
    "damaged results": {"artifacts": '[{"kind": "smell"}]'},
    "a damaged error": {"error": '"no"'},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_whatever_is_damaged_raises_one_kind_of_error(
    store: ValkeyJobStore, client: redis.Redis, damage: dict[str, str]
) -> None:
    await store.submit(make_job("a"), limits=Limits())
    fields = fields_of(client, "a")
    assert decode_job(fields).id == "a"
    with pytest.raises(UnreadableRecord, match="is damaged"):
        decode_job({**fields, **damage})
    for name in damage:
        if name in fields and name != "schema":
            with pytest.raises(UnreadableRecord, match="is damaged"):
                decode_job({other: text for other, text in fields.items() if other != name})
