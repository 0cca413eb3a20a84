"""Compare what two versions answer: ``python -m tests.compatibility.compare_wire OLD NEW``.

The arguments are two ``framegate`` commands. Both serve every dialect with the preview backend, in several
configurations, and both are sent the same requests, good and bad ones (`tests.compatibility.wire`). Their
OpenAPI documents and their answers have to be equal, except for what differs between any two runs (ids,
times, ports), for the pixels of results, and for the names of schema components. Differences in texts for
people are listed and don't fail the comparison.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.compatibility.wire.answers import Answer
from tests.compatibility.wire.differences import Difference, compare_answers, compare_documents
from tests.compatibility.wire.exchanges import Client
from tests.compatibility.wire.media import MediaStand
from tests.compatibility.wire.setups import Setup, setups
from tests.support.running import RunningServer, eventually

SHOWN = 700
"""Characters of a value that are printed."""


_READY = "/ready says whether the process can take requests, and nothing about workers: /status does"
FIXES = {
    ("OPTIONS ", "/allow"): "0.1 left out methods of a path that several handlers answer",
    **{
        ("GET /ready", place): _READY
        for place in ("", "/retry-after", "/status", "/problems", "/queue", "/workers")
    },
}
"""Differences that are meant: how the name of the request begins, the place, and why."""

QUEUEING = {"FRAMEGATE_QUEUE__WORKER_GRACE": "forever"}
"""Lets jobs wait although no worker was ever alive, as 0.1 always does."""


def answers(
    command: str, folder: Path, setup: Setup, media: MediaStand, environ: Mapping[str, str]
) -> list[Answer]:
    """Return what one version answers in one setup."""
    server = RunningServer(
        folder / "data",
        config=setup.config.replace("{media}", media.url),
        arguments=setup.arguments,
        environ={**setup.environ, **environ},
        command=(command,),
    ).wait_until_ready("/health")
    if not setup.arguments:
        eventually(server.worker_pids, what="the worker")
    client = Client(server.url, media.names(), media, setup.keys)
    try:
        return [step.run(client) for step in setup.steps]
    finally:
        server.stop()


def both_answers(old: str, new: str, setup: Setup) -> Iterator[tuple[str, Answer, Answer]]:
    """Yield the name of each step with both versions' answers; they are asked at the same time."""
    with (
        tempfile.TemporaryDirectory() as folder,
        MediaStand().running() as old_media,
        MediaStand().running() as new_media,
        ThreadPoolExecutor(2) as pool,
    ):
        places = [Path(folder) / name for name in ("old", "new")]
        for place in places:
            place.mkdir()
        made = [
            pool.submit(answers, command, place, setup, media, environ)
            for command, place, media, environ in zip(
                (old, new), places, (old_media, new_media), ({}, QUEUEING), strict=True
            )
        ]
        results = [future.result() for future in made]
        yield from zip((step.name for step in setup.steps), *results, strict=True)


def differences(old: Answer, new: Answer) -> Iterator[Difference]:
    """Yield what differs, in the answers and in the documents that they hold."""
    yield from compare_answers(old, new)
    if old.document and new.document:
        yield from compare_documents(old.document, new.document)


def main() -> int:
    """Compare two versions, print how they differ, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", help="the framegate command of the old version")
    parser.add_argument("new", help="the framegate command of the new version")
    parser.add_argument("--only", default="", help="compare only setups whose name holds this text")
    parser.add_argument("--verbose", action="store_true", help="print the status of every exchange")
    arguments = parser.parse_args()
    exchanges = documents = 0
    kinds: Counter[str] = Counter()
    texts: Counter[tuple[str, str]] = Counter()
    for setup in setups():
        if arguments.only not in setup.name:
            continue
        before = exchanges
        for name, old, new in both_answers(arguments.old, arguments.new, setup):
            exchanges += 1
            documents += old.document is not None
            if arguments.verbose:
                print(old.status, f"({setup.name}) {name}"[:200])
            for found in differences(old, new):
                fixed = any(name.startswith(start) and place == found.place for start, place in FIXES)
                kinds["fixes" if fixed else found.kind] += 1
                if found.kind == "texts":
                    texts[str(found.old), str(found.new)] += 1
                elif not fixed:
                    print(f"{found.kind.upper()} ({setup.name}) {name}\n  {found.place}")
                    print(f"  - {found.old!r}"[:SHOWN], f"  + {found.new!r}"[:SHOWN], sep="\n")
        print(f"{setup.name}: {exchanges - before} exchanges", file=sys.stderr, flush=True)
    for (first, second), times in texts.items():
        print(f"TEXT ({times} times)", f"  - {first}"[:SHOWN], f"  + {second}"[:SHOWN], sep="\n")
    found_kinds = ", ".join(f"{kind}: {number}" for kind, number in sorted(kinds.items())) or "none"
    print(f"{exchanges} exchanges and {documents} OpenAPI documents compared; differences: {found_kinds}")
    return 1 if kinds.keys() - {"texts", "fixes"} else 0


if __name__ == "__main__":
    sys.exit(main())
