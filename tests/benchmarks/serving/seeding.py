"""Servers that hold very many jobs already: waiting ones, and ones that have ended."""

import asyncio
from collections.abc import Sequence

import redis
from msgspec.structs import replace

from framegate.core.jobs import Job, JobState, new_share_id
from framegate.core.ports import Limits
from framegate.core.types import Artifact, MediaKind
from framegate.storage.embedded import socket_url
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.benchmarks.serving.http_client import PATIENCE, Connection
from tests.benchmarks.serving.model import NAME
from tests.benchmarks.serving.servers import OwnServer, decoded, post
from tests.support.scaling.copies import Copier, template_of, without_log

_AT_ONCE = 64
_PROMPT = "a boat on a lake"
_SUBMISSIONS = {
    "/v1/tasks/video": {"prompt": _PROMPT},
    "/api/v1/jobs": {"prompt": _PROMPT, "task": "text-to-video"},
    "/v1/videos": {"prompt": _PROMPT, "seconds": "4"},
}
"""A job of each dialect that has lists; the stored ones are like these, in turn."""


def fill(server: OwnServer, count: int) -> None:
    """Add ``count`` jobs that have succeeded within the last ten minutes, and as many that wait.

    What waits is submitted by the real scripts; of what has ended, a few are made by them and copied.
    """
    if not count:
        return
    url = socket_url(server.running.data_dir)
    client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=PATIENCE)
    try:
        with without_log(client):
            templates = _submit_templates(server)
            ended: list[Job] = []
            worker = WorkerStore(client, "seed")
            for template in templates:
                claimed = worker.claim(template.queue, [NAME])
                assert claimed is not None
                key = f"results/{claimed.id}/1-seed-0.mp4"
                artifact = Artifact(MediaKind.VIDEO, key, "video/mp4", 5, 64, 64, 8, 8.0, 1.0)
                assert worker.succeed(claimed, (artifact,))
                ended.append(claimed)
            copier = Copier(client)
            seconds, _ = client.time()
            copied = [template_of(client, job.id, job.owner, job.share_id) for job in ended]
            for original in copied:
                copier.write(original, count // len(copied), owners=1, ended=seconds - 600.0, over=500.0)
            server.with_store(lambda store: _submit(store, templates, count))
    finally:
        client.close()


def _submit_templates(server: OwnServer) -> list[Job]:
    with Connection(server.target.address) as connection:
        answers = [decoded(connection.call(post(path, body))) for path, body in _SUBMISSIONS.items()]
    ids = [str(answer.get("task_id") or answer["id"]) for answer in answers]
    found = server.jobs(ids)
    assert all(job.state == JobState.QUEUED for job in found)
    return found


async def _submit(store: ValkeyJobStore, templates: Sequence[Job], count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, count))
        jobs = (
            replace(
                templates[number % len(templates)],
                id=f"waiting{number:09}",
                share_id=new_share_id(),
                seq=0,
            )
            for number in numbers
        )
        await asyncio.gather(*(store.submit(job, limits=Limits()) for job in jobs))
