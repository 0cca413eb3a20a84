"""A thousand workers, ten thousand owners, a million records: ``python -m tests.benchmarks.scale``.

Starts a Valkey that syncs every write, as the embedded one does, and measures on it, one after the other:

- idle: what real workers without work send is recorded, then sent by ``--workers`` simulated ones.
- busy: as many workers renew their leases, finish jobs and claim others, while ``--owners`` owners have jobs
  waiting for ``--models`` models, and as many are submitted as end.
- quiet: how long one client waits, and what its calls cost Valkey, while all these jobs wait.
- one worker: what a real one with a hundred models costs while it is idle, Valkey included.

With ``--records 1000000`` it measures instead how lists, retention and the search for orphans fare with that
many finished jobs. With ``--beside CHECKOUT`` it runs a second time on the code of another checkout, which
has its own ``.venv``. It fails if a target is missed; those of times need a machine without other work.
"""

import argparse
import asyncio
import itertools
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import msgspec
import psutil
import redis
from msgspec import Struct
from msgspec.structs import replace

from framegate.cli.log import configure_logging
from framegate.core.jobs import JobState
from framegate.core.ports import Limits
from framegate.storage.connections import connect_async
from framegate.storage.jobs.store import ValkeyJobStore
from framegate.storage.jobs.worker_store import WorkerStore
from tests.support.external_valkey import ExternalValkey
from tests.support.many_models import COUNT, model_id
from tests.support.processes import cpu_seconds
from tests.support.running import eventually
from tests.support.sample_jobs import make_job
from tests.support.scaling import load as load_of
from tests.support.scaling.cost import Meter, times_of
from tests.support.scaling.load import PARKED, QUEUE, Jobs, Load
from tests.support.scaling.recording import CLIENT_NAME, RealWorkers, Recording, record
from tests.support.scaling.replay import RECORDED_JOB, simulated_workers
from tests.support.scaling.stored import measure_records

REPOSITORY = Path(__file__).parents[2]
IDLE_SECONDS = 25.0
"""How long idle workers are recorded: longer than anything that they do regularly takes to come again."""
BUSY_SECONDS = 8.0
_QUIET_CALLS = 200


class Target(Struct, frozen=True):
    """A promise, and what was measured."""

    name: str
    measured: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether it holds."""
        return self.measured <= self.most

    def __str__(self) -> str:
        verdict = "pass" if self.met else "FAIL"
        return f"{verdict}  {self.name}: {self.measured:.2f} {self.unit}, at most {self.most:g}"


class Report:
    """Prints what is measured, and keeps it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.targets: list[Target] = []

    def add(self, name: str, value: object) -> None:
        """Print a value."""
        self.values[name] = msgspec.to_builtins(value)
        print(f"{name:42} {value}", file=sys.stderr, flush=True)

    def promise(self, name: str, measured: float, most: float, unit: str) -> None:
        """Print whether ``measured`` is at most ``most``."""
        self.targets.append(Target(name, measured, most, unit))
        print(f"  {self.targets[-1]}", file=sys.stderr, flush=True)


def measure_idle(valkey: ExternalValkey, folder: Path, options: argparse.Namespace, report: Report) -> None:
    """Measure workers that have nothing to do."""
    recording = record(valkey.url, folder, queues=options.queues, seconds=options.idle_seconds)
    report.add("idle: connections of a worker", len(recording.connections))
    report.add("idle: commands/s of a real worker", round(sum(recording.rates.values()), 2))
    report.add("idle: the same, by kind", recording.rates)
    report.add("idle: sent by an elected one, commands/s", round(_shared_rate(recording), 2))
    with _client(valkey) as client, simulated_workers(valkey.url, recording, options.workers) as workers:
        client.flushall()
        meter = Meter(client)
        time.sleep(2)
        workers.sent()
        with meter.cost() as cost:
            time.sleep(options.seconds)
        sent = workers.sent()
    report.add(f"idle: {options.workers} workers", cost)
    wanted = options.workers * recording.rate + _shared_rate(recording)
    reached = sent.commands / options.seconds / wanted
    report.add("idle: share of the commands that were due", round(reached, 3))
    # A Valkey that can't keep up would need as many cores as the rest of the commands cost.
    report.promise(
        f"{options.workers} idle workers", 100 * cost.cpu / min(1.0, reached), 20, "% of a core of Valkey"
    )


def _shared_rate(recording: Recording) -> float:
    return len(recording.shared.commands) / recording.seconds


def _client(valkey: ExternalValkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url, decode_responses=True, client_name=CLIENT_NAME)


def _record_busy(valkey: ExternalValkey, folder: Path) -> Recording:
    submitted = iter(range(1_000))

    async def submit(count: int) -> None:
        store = ValkeyJobStore(connect_async(valkey.url))
        for _ in range(count):
            number = next(submitted)
            job_id = RECORDED_JOB.decode() if number == 0 else f"other-{number}"
            job = make_job(job_id, queue=f"q-{model_id(0)}", served_by=model_id(0))
            shot = replace(job.shots[0], prompt="draw 1000", num_frames=600)
            await store.submit(replace(job, shots=(shot,)), limits=Limits())
        await store.close()

    def run_jobs(workers: RealWorkers) -> None:
        # More than they can run, as otherwise they ask for further ones all the time.
        asyncio.run(submit(3 * len(workers.pids)))
        eventually(
            lambda: workers.client.zcard("fg:state:running") == len(workers.pids),
            what="a job for each worker",
        )
        time.sleep(2)

    return record(valkey.url, folder, queues=1, seconds=BUSY_SECONDS, occupy=run_jobs)


async def measure_busy(
    valkey: ExternalValkey, folder: Path, options: argparse.Namespace, report: Report
) -> None:
    """Measure workers that all run jobs, and then the scripts alone."""
    recording = await asyncio.to_thread(_record_busy, valkey, folder)
    report.add("busy: commands/s of a real worker", round(sum(recording.rates.values()), 2))
    report.add("busy: the same, by kind", recording.rates)
    report.add("busy: sent by an elected one, commands/s", round(_shared_rate(recording), 2))
    store = ValkeyJobStore(connect_async(valkey.url))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(store.close)
        client = stack.enter_context(_client(valkey))
        client.flushall()
        meter = Meter(client)
        jobs = Jobs(options.owners, options.models)
        began = time.perf_counter()
        count = options.owners * options.waiting
        await load_of.fill(store, jobs, count)
        report.add("busy: jobs submitted", count)
        report.add("busy: submissions/s, 32 at once", round(count / (time.perf_counter() - began)))
        waiting = await store.list(owner=None, states=(JobState.QUEUED,), limit=2000)
        load: Load
        with simulated_workers(valkey.url, recording, options.workers) as workers:
            load = Load(
                valkey.url, workers, options.workers, models=options.models, job_seconds=options.job_seconds
            )
            claimed = await asyncio.to_thread(load.claim_for_all)
            await asyncio.to_thread(load.occupy_parked)
            report.add("busy: workers that claimed a job", claimed)
            load.start()
            tasks = [
                asyncio.create_task(task)
                for task in (
                    load_of.submit_for_ended(store, jobs, load),
                    load_of.ask_for_positions(store, waiting, load, per_second=5),
                    load_of.claim_in_vain(client, load, per_second=2),
                    load_of.keep_parked(client, load),
                    load_of.sweep(store),
                    load_of.sweep(store),
                )
            ]
            await asyncio.sleep(2)
            workers.sent()
            with meter.cost() as cost:
                await asyncio.sleep(options.seconds)
            sent = workers.sent()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if error is not None and not isinstance(error, asyncio.CancelledError):
                    raise error
            await asyncio.to_thread(load.stop)
        report.add(f"busy: {options.workers} workers", cost)
        wanted = options.workers * recording.rate + _shared_rate(recording)
        report.add(
            "busy: share of the heartbeats that were due", round(sent.commands / options.seconds / wanted, 3)
        )
        report.add("busy: jobs ended/s", round(len(load.ends) / (options.seconds + 2), 1))
        for name in ("submissions", "claims", "empty_claims", "ends", "positions"):
            report.add(f"busy: {name.replace('_', ' ')}", times_of(getattr(load, name)))
        report.add("busy: calls that failed", load.failures)
        for name in ("claims", "empty_claims", "positions"):
            report.promise(f"busy: {name.replace('_', ' ')}, p99", times_of(getattr(load, name)).p99, 5, "ms")
        await measure_quiet(valkey, store, meter, jobs, options, report)


async def measure_quiet(
    valkey: ExternalValkey,
    store: ValkeyJobStore,
    meter: Meter,
    jobs: Jobs,
    options: argparse.Namespace,
    report: Report,
) -> None:
    """Measure the calls of one client while nobody else calls, and the scripts alone."""
    client = _client(valkey)
    waiting = await store.list(owner=None, states=(JobState.QUEUED,), limit=5000)
    places = itertools.cycle(waiting[:: max(1, len(waiting) // _QUIET_CALLS)])
    workers = (WorkerStore(client, f"quiet-{number}") for number in range(10 * _QUIET_CALLS))
    models = [f"model-{number:03}" for number in range(min(4, options.models))]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "submit": lambda: store.submit(jobs.next(), limits=Limits()),
        "claim": lambda: asyncio.to_thread(next(workers).claim, QUEUE, models),
        "claim of a parked model": lambda: asyncio.to_thread(next(workers).claim, QUEUE, [PARKED]),
        "claim of a model nobody waits for": lambda: asyncio.to_thread(next(workers).claim, QUEUE, ["none"]),
        "position": lambda: store.queue_positions([next(places)]),
    }
    for name, call in calls.items():
        seen: list[float] = []
        for _ in range(_QUIET_CALLS):
            began = time.perf_counter()
            await call()
            seen.append(1000 * (time.perf_counter() - began))
        alone = await meter.cpu_times(call, calls=_QUIET_CALLS)
        report.add(f"quiet: {name}, as its client sees it", times_of(seen))
        report.add(f"quiet: {name}, Valkey's CPU time", alone)
        if name != "submit":
            report.promise(f"{name} with {options.owners:,} owners, p99", times_of(seen).p99, 5, "ms")
            report.promise("the same, Valkey's CPU time, p99", alone.p99, 5, "ms")
    client.close()


def measure_one_worker(
    valkey: ExternalValkey, folder: Path, options: argparse.Namespace, report: Report
) -> None:
    """Measure a real worker of many models that is idle."""
    with ExitStack() as stack:
        workers = RealWorkers(valkey.url, folder, stack)
        workers.start(1, COUNT)
        process = psutil.Process(workers.pids[0])
        family = [process, *process.children(recursive=True)]
        meter = Meter(workers.client)
        busy = sum(cpu_seconds(one.pid) for one in family)
        with meter.cost() as cost:
            syncs = _syncs(valkey.folder, options.idle_seconds)
        own = (sum(cpu_seconds(one.pid) for one in family) - busy) / options.idle_seconds
        report.add("one worker: threads", [one.num_threads() for one in family])
        report.promise(f"threads of a worker with {COUNT} models", process.num_threads(), 19, "threads")
        report.add("one worker: worker and heartbeat process", f"{100 * own:.2f} % of a core")
        report.add("one worker: its Valkey", cost)
        report.promise("an idle worker with its Valkey", 100 * (own + cost.cpu), 2, "% of a core")
        report.promise("syncs of its Valkey", syncs / options.idle_seconds, 1, "a second")


def _syncs(folder: Path, seconds: float) -> int:
    """Return how often the append-only file grows; each time is followed by a sync."""
    (file,) = folder.rglob("*.incr.aof")
    grown, size, end = 0, file.stat().st_size, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.002)
        now = file.stat().st_size
        grown += now != size
        size = now
    return grown


def run(options: argparse.Namespace) -> Report:
    """Measure what the options say."""
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        valkey = ExternalValkey(folder / "valkey")
        try:
            if options.records:
                asyncio.run(measure_records(valkey, folder, options.records, report.add, report.promise))
                return report
            for name in ("idle", "busy", "one"):
                (folder / name).mkdir()
            if "idle" in options.only:
                measure_idle(valkey, folder / "idle", options, report)
            if "busy" in options.only:
                asyncio.run(measure_busy(valkey, folder / "busy", options, report))
            if "one" in options.only:
                measure_one_worker(valkey, folder / "one", options, report)
        finally:
            valkey.kill()
    return report


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--owners", type=int, default=10_000)
    parser.add_argument("--models", type=int, default=100, help="models of the jobs that wait")
    parser.add_argument("--waiting", type=int, default=2, help="jobs that wait for each owner")
    parser.add_argument("--queues", type=int, default=1, help="queues of a worker that is idle")
    parser.add_argument("--job-seconds", type=float, default=60.0, help="how long a job runs on average")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long is measured")
    parser.add_argument("--idle-seconds", type=float, default=IDLE_SECONDS, help=argparse.SUPPRESS)
    parser.add_argument("--only", nargs="+", choices=("idle", "busy", "one"), default=["idle", "busy", "one"])
    parser.add_argument("--records", type=int, default=0, help="measure that many finished jobs instead")
    parser.add_argument("--json", action="store_true", help="print the values as JSON on standard output")
    parser.add_argument("--beside", type=Path, help="another checkout, measured as well")
    options = parser.parse_args(arguments)
    configure_logging(level=logging.WARNING)
    given = list(sys.argv[1:] if arguments is None else arguments)
    report = run(options)
    found: dict[str, Any] = {"values": report.values, "targets": msgspec.to_builtins(report.targets)}
    if options.beside:
        print(f"\nBeside, {options.beside}:", file=sys.stderr, flush=True)
        place = given.index("--beside")
        python = options.beside.absolute() / ".venv" / "bin" / "python"
        command = [python, "-m", "tests.benchmarks.scale", *given[:place], *given[place + 2 :], "--json"]
        done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, check=False)
        found["beside"] = msgspec.json.decode(done.stdout)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found)).decode())
    return 0 if all(target.met for target in report.targets) else 1


if __name__ == "__main__":
    sys.exit(main())
