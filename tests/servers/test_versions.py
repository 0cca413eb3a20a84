"""The servers that the documentation names, each with the user that it prints: all of a queue's life."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
import trustme

from framegate.core.errors import ConfigError
from framegate.core.job_watches import JobWatches
from framegate.core.jobs import JobState
from framegate.core.keys import KeySecret, StoredKey
from framegate.core.ports import Limits, WorkerInfo
from framegate.core.settings import Settings
from framegate.storage.connections import connect, connect_async, connect_once
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from framegate.storage.keys import ValkeyKeyStore
from framegate.storage.rates import ValkeyRateStore
from framegate.storage.server_check import check_server
from tests.support.code_blocks import code_blocks
from tests.support.external_valkey import ExternalValkey
from tests.support.heartbeats import heartbeat
from tests.support.running import RunningServer
from tests.support.sample_jobs import make_job
from tests.support.server_programs import NAMES, server_program
from tests.support.tasks import all_succeed, download, submit

StartServer = Callable[..., RunningServer]
PASSWORD, NOW = "correct-horse-battery", datetime(2026, 1, 1, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "valkey.md"


def documented_rule() -> list[str]:
    [rule] = [block.text.split() for block in code_blocks(PAGE) if block.text.startswith("user ")]
    assert rule[:2] == ["user", "framegate"]
    return [part for part in rule[1:] if not part.startswith(">")]


def add_user(server: ExternalValkey) -> str:
    """Make the user that the page prints, switch the default one off, and return the former's URL."""
    with redis.Redis.from_url(server.url) as operator:
        operator.execute_command("ACL", "SETUSER", *documented_rule(), f">{PASSWORD}")
        operator.execute_command("ACL", "SETUSER", "default", "off")
    return server.url.replace("://", f"://framegate:{PASSWORD}@")


@pytest.fixture(params=NAMES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    server = ExternalValkey(tmp_path / "server", program=server_program(request.param))
    yield add_user(server)
    server.kill()


async def test_all_of_a_queue_s_life(url: str) -> None:
    store, keys = ValkeyJobStore(connect_async(url)), ValkeyKeyStore(connect_async(url))
    with connect_once(url) as client:
        assert not check_server(client, "fg:").warnings
    with connect(url) as client:
        worker = WorkerStore(client, "w")
        worker.heartbeat(
            [],
            info=WorkerInfo(
                id="w", host="h", pid=1, device="cpu", version="1", models=("test",), started_at=0.0
            ),
        )
        for name in ("ends", "fails", "goes"):
            await store.submit(make_job(name, owner=name), limits=Limits(max_queued=10))
        async with aclosing(JobWatches(store).watch("ends")) as states, asyncio.timeout(60):
            await anext(states)
            job = worker.claim("q-test", ["test"])
            assert job is not None
            assert (seen := await anext(states)) is not None
            assert seen.state == JobState.RUNNING
        [position] = await store.queue_positions([make_job("goes", owner="goes")])
        assert position is not None
        heartbeat(worker, job.id, job.attempt, 0.5, "half")
        assert worker.succeed(job, ()) == JobState.SUCCEEDED
        await store.cancel("goes")
        await store.sweep()
        assert len((await store.worker_presence()).workers) == 1
        worker.withdraw()
    await store.delete("ends")
    assert [job.id for job in await store.list(owner=None, states=[], limit=10)] == ["goes", "fails"]
    assert await keys.add(
        StoredKey(name="alice", created_at=NOW, secrets=(KeySecret(sha256="0" * 64, created_at=NOW),))
    )
    assert len((await keys.read()).keys) == 1
    rates = ValkeyRateStore(connect_async(url))
    for closing in (store, keys, rates):
        await closing.close()
    assert Settings().queue.prefix == "fg:", "the rule that is printed is for this one"


def test_servers_and_workers_by_tls(start_server: StartServer, tmp_path: Path) -> None:
    """Both sides show a certificate; a client that knows another authority, or has none to show, is
    refused."""
    program = server_program("redis")
    if not program.has_tls:
        pytest.skip(f"{program.path} was built without TLS")
    folder = certificates(tmp_path / "tls")
    valkey = ExternalValkey(tmp_path / "valkey", program=program, tls=folder)
    try:
        url = add_user(valkey)
        server = start_server(config=f'[queue]\nurl = "{url}"\n')
        task = submit(server, "a boat")
        all_succeed(server, [task])
        assert download(server, task)
        for wrong in (url.replace("/ca.pem", "/other-ca.pem"), url.replace("127.0.0.1", "localhost")):
            with (
                connect_once(wrong) as client,
                pytest.raises(ConfigError, match=r"queue\.url: no TLS connection to the server: ") as raised,
            ):
                check_server(client, "fg:")
            assert PASSWORD not in raised.value.message
        without_certificate = url.partition("&ssl_certfile")[0]
        with connect_once(without_certificate) as client, pytest.raises((ConfigError, redis.RedisError)):
            check_server(client, "fg:")
        with pytest.raises(ConfigError, match=r"queue\.url: ssl_ca_certs: there is no file /nowhere/ca\.pem"):
            connect(f"{url.partition('?')[0]}?ssl_ca_certs=/nowhere/ca.pem")
    finally:
        valkey.kill()


def certificates(folder: Path) -> Path:
    """Write what a server and its clients need into ``folder``, and the certificate of another authority."""
    folder.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other-ca.pem"))
    for name in ("server", "client"):
        certificate = authority.issue_cert("127.0.0.1")
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}-cert.pem"))
        certificate.private_key_pem.write_to_path(str(folder / f"{name}-key.pem"))
    return folder
