"""What serving costs: ``python -m tests.benchmarks.serving``.

Starts servers of this checkout with everything that belongs to them, drives them over loopback, and prints
tables; with ``--output`` it writes all figures as JSON. The rounds of what is compared take turns, and the
median of the rounds counts. CPU times are those of the processes that serve the API; on a machine with other
work they are far steadier than rates.

  idle       processor time and memory of an installation without work
  latency    from a submit to the result, of 1 and of 16 clients
  overhead   what a worker adds to a long job
  watchers   a thousand open streams of one job
  downloads  a large result, whole and by Range
  jobs       how many waiting jobs one and two workers run in a second
  rates      submits and polls of 16 clients, with 0, 10,000 and 100,000 jobs stored that wait, and as
             many that have ended
  lists      each list, count and position with as many

``--beside URL --as comfyui`` compares with another server that runs already.
"""

import argparse
import resource
import sys
import tempfile
import traceback
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from tests.benchmarks import idle
from tests.benchmarks.serving.jobs import measure_latency, measure_overhead, measure_throughput
from tests.benchmarks.serving.requests import measure_lists, measure_rates
from tests.benchmarks.serving.results import OURS, Recorder, Results, tables
from tests.benchmarks.serving.seeding import fill
from tests.benchmarks.serving.servers import OwnServer, Servers, Target, beside
from tests.benchmarks.serving.shapes import SHAPES
from tests.benchmarks.serving.streams import measure_downloads, measure_watchers

SECTIONS = ("idle", "latency", "overhead", "watchers", "downloads", "jobs", "rates", "lists")
"""In this order, as a server with very many jobs is never quite idle."""


def parser() -> argparse.ArgumentParser:
    """Return what reads the options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", type=_sections, default=SECTIONS, help="sections, as rates,latency")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--count", type=int, default=400, help="requests or jobs of a kind in a round")
    made.add_argument("--stored", type=int, nargs="*", default=[0, 10_000, 100_000])
    made.add_argument("--api-processes", type=int, nargs="*", default=[1, 2])
    made.add_argument("--watchers", type=int, default=1000)
    made.add_argument(
        "--sleep", type=float, default=60.0, help="seconds of the job for the worker's overhead"
    )
    made.add_argument("--mebibytes", type=int, default=256, help="size of the result that is downloaded")
    made.add_argument("--idle-seconds", type=float, default=30.0)
    made.add_argument(
        "--quick", action="store_true", help="one short round of everything: its numbers mean nothing"
    )
    made.add_argument("--beside", metavar="URL", action="append", default=[], help="another server")
    made.add_argument("--as", dest="shapes", action="append", default=[], choices=SHAPES, help="its API")
    made.add_argument(
        "--beside-checkout", type=Path, help="another checkout with its own .venv, for the rates"
    )
    made.add_argument(
        "--most", type=float, help="fail if a request costs more CPU than so many times as there"
    )
    made.add_argument("--output", type=Path, help="where to write the figures as JSON")
    return made


def _sections(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(SECTIONS):
        raise argparse.ArgumentTypeError(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return names


def _shorten(options: argparse.Namespace) -> None:
    options.rounds, options.count, options.watchers, options.mebibytes = 1, 16, 10, 1
    options.stored, options.api_processes = [24], [1]
    options.sleep = options.idle_seconds = 0.5


def measure(options: argparse.Namespace) -> Generator[Results]:
    """Measure what the options say, and yield all results so far after each section."""
    recorder = Recorder()
    others = [beside(url, shape) for url, shape in zip(options.beside, options.shapes, strict=True)]
    peers = [target.name for target in others]
    if options.beside_checkout:
        peers.append(options.beside_checkout.absolute().name)
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = Servers(Path(folder), stack)
        for section in options.only:
            print(f"{section} …", file=sys.stderr, flush=True)
            try:
                _measure_section(section, servers, others, recorder, options)
            except Exception:  # a refused request costs its section alone, and not those that took long
                traceback.print_exc()
                failed.append(section)
            yield Results(beside=peers, figures=recorder.figures(), failed=failed)


def _measure_section(
    section: str,
    servers: Servers,
    others: Sequence[Target],
    recorder: Recorder,
    options: argparse.Namespace,
) -> None:
    rounds, count = options.rounds, options.count
    match section:
        case "idle":
            _record_idle(servers.with_worker(), recorder, options)
        case "latency":
            measure_latency(servers.with_worker(), others, recorder, rounds=rounds, count=count // 2)
        case "overhead":
            measure_overhead(servers.with_worker(), recorder, rounds=1, seconds=options.sleep)
        case "watchers":
            seconds = min(options.sleep, 10.0)
            measure_watchers(
                servers.with_worker(), recorder, rounds=rounds, watchers=options.watchers, seconds=seconds
            )
        case "downloads":
            measure_downloads(servers.with_worker(), recorder, rounds=rounds, mebibytes=options.mebibytes)
        case "jobs":
            server, second = servers.with_two_workers()
            measure_throughput(server, second, recorder, rounds=rounds, count=count)
        case "rates":
            targets = [*_own(servers, options), *_checkouts(servers, options), *others]
            measure_rates(targets, recorder, rounds=rounds, count=count)
        case _:
            measure_lists(_stored(servers, options), recorder, rounds=rounds, calls=count // 4)


def _record_idle(server: OwnServer, recorder: Recorder, options: argparse.Namespace) -> None:
    settle = 0.0 if options.quick else idle.SETTLE_SECONDS
    cost = idle.measure(server.running, options.idle_seconds, settle)
    for role, of in cost.roles.items():
        recorder.add("idle", f"{role}: CPU", OURS, of.share, "% of a core")
        recorder.add("idle", f"{role}: memory", OURS, of.memory / 1e6, "MB")
    recorder.add("idle", "all: CPU", OURS, sum(of.share for of in cost.roles.values()), "% of a core")


def _stored(servers: Servers, options: argparse.Namespace) -> dict[int, OwnServer]:
    """Return servers with so many jobs that wait, and as many that have ended."""
    found: dict[int, OwnServer] = {}
    for count in options.stored:
        name = f"{OURS}, {count:,} stored" if count else OURS
        fresh = not servers.has_api(name)
        found[count] = servers.api(name)
        if fresh:
            fill(found[count], count)
    return found


def _own(servers: Servers, options: argparse.Namespace) -> list[Target]:
    found = [server.target for server in _stored(servers, options).values()]
    several = [number for number in options.api_processes if number > 1]
    return found + [
        servers.api(f"{OURS}, {number} API processes", processes=number).target for number in several
    ]


def _checkouts(servers: Servers, options: argparse.Namespace) -> list[Target]:
    if not options.beside_checkout:
        return []
    folder: Path = options.beside_checkout.absolute()
    return [servers.api(folder.name, python=folder / ".venv" / "bin" / "python").target]


def too_costly(results: Results, most: float) -> list[str]:
    """Return a sentence for each kind of request that costs over ``most`` times as much CPU as beside."""
    costs = {
        (figure.name, figure.target): figure.value
        for figure in results.figures
        if figure.section == "rates" and figure.name.startswith("API's CPU")
    }
    found: list[str] = []
    for (name, target), cost in costs.items():
        for peer in results.beside:
            other = costs.get((name, peer))
            if target == OURS and other and cost > most * other:
                found.append(
                    f"{name} is {cost / other:.3f} times as much as that of {peer}; allowed is {most:g}."
                )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write, and return the exit status."""
    options = parser().parse_args(arguments)
    if len(options.beside) != len(options.shapes):
        parser().error("each --beside needs its --as")
    if options.quick:
        _shorten(options)
    # A thousand streams need a socket each, here and in the server, which inherits the limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = Results()
    for results in measure(options):
        if options.output:
            options.output.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    print(tables(results))
    found = [f"The section {section} was not measured to its end." for section in results.failed]
    found += too_costly(results, options.most) if options.most else []
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
