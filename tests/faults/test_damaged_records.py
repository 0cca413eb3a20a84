"""Records that nobody can read, or that are gone, while a real server and its worker run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import requests

from framegate.storage.connections import connect
from tests.support.running import RunningServer, eventually, framegate, running_worker
from tests.support.tasks import ended, results, status, submit

CUT = '{"id":"x","model":'
CHANGED = '{"id":"x","model":"a","request":{"prompt":7},"shots":"none"}'


@pytest.fixture
def client(queue_url: str) -> Iterator[redis.Redis]:
    connection = connect(queue_url)
    yield connection
    connection.close()


@pytest.fixture
def server(tmp_path: Path, queue_url: str) -> Iterator[RunningServer]:
    """A server without a worker, so that jobs can be damaged before they run."""
    running = RunningServer(
        tmp_path / "data",
        config=f'[queue]\nurl = "{queue_url}"\nworker_grace = "forever"\n',
        arguments=["--no-worker"],
    )
    yield running.wait_until_ready("/health")
    assert running.stop() == 0, running.log_text()


def damage(client: redis.Redis, job: str, text: str = CUT) -> None:
    assert client.hset(f"fg:job:{job}", "job", text) == 0, "the field was there"


def videos(server: RunningServer, path: str = "", method: str = "GET", **form: str) -> requests.Response:
    return requests.request(method, f"{server.url}/v1/videos{path}", data=form or None, timeout=60)


def submit_video(server: RunningServer, prompt: str) -> str:
    answer = videos(server, method="POST", prompt=prompt, model="sora-2", seconds="4", size="720x1280")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_damaged_jobs_fail_and_the_others_go_on(server: RunningServer, client: redis.Redis) -> None:
    """Through two APIs, each of which says so in its own words, and with a real worker."""
    first, broken, changed, last = (submit(server, name) for name in ("first", "broken", "changed", "last"))
    video, other = submit_video(server, "a broken one"), submit_video(server, "another")
    damage(client, broken)
    damage(client, video)
    damage(client, changed, CHANGED)
    for task in (broken, changed):
        assert status(server, task)["status"] == "submitted"
    assert requests.delete(f"{server.url}/v1/videos/{other}", timeout=60).status_code == 200
    log = server.data_dir.with_name("worker.log")
    with running_worker(server.data_dir, "--config", server.config, environ=server.environ, log=log):
        for task in (first, last):
            assert ended(server, task)["status"] == "succeed"
        for task in (broken, changed):
            state = ended(server, task)
            assert (state["status"], state["error_type"]) == ("failed", "incompatible_record")
            assert "damaged; submit it again" in state["error"]
        eventually(lambda: videos(server, f"/{video}").json()["status"] == "failed", what="its failure")
        assert videos(server, f"/{video}").json()["error"]["code"] == "incompatible_record"
        assert submit(server, "one more")
    lines = [json.loads(line) for line in log.read_text().splitlines() if "job_unreadable" in line]
    assert {line["job_id"] for line in lines} == {broken, changed, video}
    assert len(lines) == 3, "each was tried once"
    assert "Traceback" not in log.read_text() + server.log_text()
    listed = framegate("jobs", "list", "--json", "--config", server.config, data_dir=server.data_dir)
    assert listed.returncode == 0, listed.stderr
    assert broken not in listed.stdout
    assert first in listed.stdout
    assert videos(server).json()["data"] == []


def test_a_damaged_job_keeps_its_result_until_it_is_deleted(
    server: RunningServer, client: redis.Redis
) -> None:
    with running_worker(server.data_dir, "--config", server.config, environ=server.environ):
        video = submit_video(server, "a boat")
        eventually(lambda: videos(server, f"/{video}").json()["status"] == "completed", what="its end")
    made = videos(server, f"/{video}/content").content
    assert len(made) > 1000
    damage(client, video)
    assert videos(server, f"/{video}").json()["status"] == "completed"
    assert videos(server, f"/{video}/content").content == made
    assert len(results(server, video)) == 1
    assert videos(server, f"/{video}", "DELETE").json() == {
        "id": video,
        "object": "video.deleted",
        "deleted": True,
    }
    assert results(server, video) == []
    assert client.exists(f"fg:job:{video}") == 0
    assert videos(server, f"/{video}").status_code == 404


def test_retention_removes_damaged_jobs_and_their_files(
    tmp_path: Path, queue_url: str, client: redis.Redis
) -> None:
    server = RunningServer(
        tmp_path / "data",
        config=f'[queue]\nurl = "{queue_url}"\n[storage]\nretention = "2s"\nrecord_retention = "2s"\n',
    )
    server.wait_until_ready()
    try:
        task = submit(server, "a boat")
        assert ended(server, task)["status"] == "succeed"
        damage(client, task)
        eventually(lambda: not results(server, task), what="the removal of its file")
        eventually(lambda: not client.exists(f"fg:job:{task}"), what="the removal of its record")
    finally:
        assert server.stop() == 0, server.log_text()


def test_missing_records_stop_nothing(server: RunningServer, client: redis.Redis) -> None:
    """A server whose `maxmemory-policy` is not noeviction has removed them."""
    first, lost, last = (submit(server, name) for name in ("first", "lost", "last"))
    video = submit_video(server, "lost too")
    client.delete(f"fg:job:{lost}", f"fg:job:{video}")
    another = submit(server, "another")
    assert videos(server).json()["data"] == []
    assert videos(server, f"/{video}").status_code == 404
    assert videos(server, f"/{video}", "DELETE").status_code == 404
    with running_worker(server.data_dir, "--config", server.config, environ=server.environ):
        for task in (first, last, another):
            assert ended(server, task)["status"] == "succeed"
