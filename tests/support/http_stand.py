"""The HTTP app on ports in memory, behind a real socket."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar

from framegate.core.availability import WORKER_GRACE
from framegate.core.concurrency import cancel_and_wait
from framegate.core.dialect import DialectSpec
from framegate.core.errors import Unavailable
from framegate.core.jobs import Job, JobError
from framegate.core.keys import KeyGrants
from framegate.core.models import ModelSpec
from framegate.core.ports import WorkerInfo
from framegate.core.registry import Registry
from framegate.core.settings import DialectsSettings, ServerSettings, Settings
from framegate.core.testing import (
    InMemoryArtifactStore,
    InMemoryCharacterStore,
    InMemoryJobStore,
    InMemoryKeyStore,
    InMemoryRateStore,
    InMemorySecretStore,
    StaticMediaIngest,
)
from framegate.core.types import Artifact, MediaKind, Task
from framegate.core.wiring import create_services
from framegate.server.app import create_app
from framegate.server.auth.key_ring import KeyRing
from framegate.server.connections.server_config import ServerConfig
from framegate.server.event_loop import new_event_loop
from framegate.server.http_server import HttpServer
from framegate.server.limits.limiter import RateLimiter
from framegate.server.listening import listen
from framegate.server.plugin import framegate_dialects
from framegate.server.process_state import ProcessState
from tests.support.variants import InProcessVariants

MODEL = ModelSpec(
    id="preview",
    summary="",
    backend="nowhere:Nothing",
    tasks=frozenset(Task),
    parameters=frozenset({"last_image", "strength", "negative_prompt"}),
)
WORKER = WorkerInfo("w1", "here", 1, "cpu", "0", ("preview",), 0.0)
CONTENT = {
    MediaKind.VIDEO: b"\0\0\0\x20ftypisom" + bytes(range(256)) * 4,
    MediaKind.IMAGE: b"\x89PNG\r\n" + b"p" * 100,
}
BROKEN = "https://example.com/broken.png"


class Stand:
    """The app's services and what is behind it, with the worker in the test's own hands."""

    def __init__(
        self,
        folder: Path,
        max_queued: int,
        worker_grace: float = WORKER_GRACE,
        configured_keys: Mapping[str, KeyGrants] | None = None,
    ) -> None:
        self.folder = folder
        self.store = InMemoryJobStore()
        self.store.living.append(WORKER)
        self.artifacts = InMemoryArtifactStore(folder)
        self.media = StaticMediaIngest(640, 640, broken=[BROKEN], artifacts=self.artifacts)
        self.characters = InMemoryCharacterStore()
        self.keys = InMemoryKeyStore()
        self.rates = InMemoryRateStore()
        self.process = ProcessState(RateLimiter(self.rates))
        self.services = create_services(
            registry=Registry(
                {"preview": MODEL},
                catalogues={name: spec.catalogue for name, spec in own_dialects().items()},
            ),
            store=self.store,
            artifacts=self.artifacts,
            media=self.media,
            variants=InProcessVariants(),
            characters=self.characters,
            secrets=InMemorySecretStore(),
            keys=self.keys,
            configured_keys=configured_keys,
            dialects=own_dialects(),
            max_queued=max_queued,
            worker_grace=worker_grace,
        )
        self.url = ""

    def has(self, job_id: str) -> bool:
        return any(job.id == job_id for job in self.store.jobs)

    def job(self, job_id: str) -> Job:
        return next(job for job in self.store.jobs if job.id == job_id)

    def jobs(self) -> list[Job]:
        """In the order of their submission."""
        return list(self.store.jobs)

    def claim(self) -> Job:
        job = self.store.claim_next("w1")
        assert job is not None
        return job

    def wait_claim(self) -> Job:
        """The next job, as soon as a request has submitted it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if job := self.store.claim_next("w1"):
                return job
            time.sleep(0.005)
        raise AssertionError("no job was submitted")

    def finish(self, job: Job) -> Job:
        kind = job.request.task.output
        suffix, content_type = (".mp4", "video/mp4") if kind == MediaKind.VIDEO else (".png", "image/png")
        source = self.artifacts.workdir(job.id) / "out"
        source.write_bytes(CONTENT[kind])
        key = f"results/{job.id}{suffix}"
        size = self.artifacts.put(source, key)
        shot = job.shots[0]
        return self.store.succeed(job.id, Artifact(kind, key, content_type, size, shot.width, shot.height))

    def run_next(self) -> Job:
        return self.finish(self.claim())

    def fail(self, job: Job, message: str) -> Job:
        return self.store.fail(job.id, JobError("generation_failed", message))

    @contextmanager
    def working(self, *, failing: str = "") -> Generator[None]:
        """A worker that runs whatever comes while the block lasts."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.005):
                if job := self.store.claim_next("w1"):
                    if failing:
                        self.fail(job, failing)
                    else:
                        self.finish(job)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


StandMaker: TypeAlias = Callable[..., Stand]


def make_settings(
    folder: Path, options: Mapping[str, Mapping[str, Any]] | None = None, **tables: Any
) -> Settings:
    tables.setdefault("server", {})
    tables["server"] = {"data_dir": str(folder), **tables["server"]}
    settings = msgspec.convert(tables, Settings, dec_hook=lambda kind, value: kind(value))
    enabled = tables.get("dialects", {}).get("enabled")
    return msgspec.structs.replace(settings, dialects=DialectsSettings(enabled, options or {}))


def own_dialects() -> dict[str, DialectSpec]:
    return {spec.name: spec for spec in framegate_dialects()}


def start_stand(
    running: ExitStack,
    folder: Path,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    dialects: Mapping[str, DialectSpec] | None = None,
    third_party: Mapping[str, str] | None = None,
    max_queued: int = 100,
    worker_grace: float = WORKER_GRACE,
    clock: Callable[[], float] = time.time,
    **tables: Any,
) -> Stand:
    settings = make_settings(folder, options, **tables)
    stand = Stand(folder, max_queued, worker_grace, {key.name: key for key in settings.auth.keys})
    ring = KeyRing(settings.auth.keys, stand.keys, defaults=settings.key_defaults)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncGenerator[None]:
        with suppress(Unavailable):  # as the server does, which is not ready then
            await ring.load()
        following = asyncio.create_task(ring.follow())
        yield
        await cancel_and_wait([following])

    app = create_app(
        services=stand.services,
        settings=settings,
        dialects=own_dialects() if dialects is None else dialects,
        clock=clock,
        lifespan=[lifespan],
        keys=ring,
        process=stand.process,
        third_party=third_party,
    )
    stand.url = running.enter_context(serve_app(app, settings.server))
    return stand


@contextmanager
def serve_app(app: Any, settings: ServerSettings) -> Generator[str]:
    """Serve an ASGI app, and yield its URL."""
    listener, process = listen("127.0.0.1", 0), ProcessState(RateLimiter(InMemoryRateStore()))
    started, servers = threading.Event(), list[HttpServer]()

    def nothing() -> None:
        return

    async def serve() -> None:
        config = ServerConfig(app, settings, max_files=1024)
        server = HttpServer(
            config, process, delay=0, on_started=started.set, on_stop=nothing, on_interrupt=nothing
        )
        servers.append(server)
        await server.serve([listener])

    def run() -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not started.wait(0.05):
            assert thread.is_alive()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        for server in servers:
            server.should_exit = True
        thread.join()
        listener.close()
