"""Fuzz for a while: ``python -m tests.fuzzing [TARGET…] --seconds 300``.

Each target runs in a process of its own, guided by coverage with atheris where that is installed, else with
Hypothesis. What fails is written into ``tests/fuzzing/corpus/TARGET``, where the suite replays it ever after.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import time
import traceback
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

TOO_LONG = 20.0
"""Seconds after which one input counts as a finding."""


def main() -> int:
    """Fuzz the targets that the arguments choose, one after the other."""
    from tests.fuzzing.targets import TARGETS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--engine", choices=("atheris", "hypothesis"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    engine = arguments.engine or ("atheris" if find_spec("atheris") else "hypothesis")
    if unknown := set(arguments.targets) - TARGETS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    if arguments.here:
        (with_atheris if engine == "atheris" else with_mutations)(arguments.targets[0], arguments.seconds)
        return 0
    failed: list[str] = []
    for target in arguments.targets or TARGETS:
        print(f"=== {target}, {arguments.seconds} s, {engine}", flush=True)
        command = [sys.executable, "-m", "tests.fuzzing", target, "--here", "--engine", engine]
        if subprocess.run([*command, "--seconds", str(arguments.seconds)]).returncode:
            failed.append(target)
    print(f"Findings in: {', '.join(failed)}" if failed else "Nothing was found.")
    return 1 if failed else 0


def with_atheris(target: str, seconds: int) -> None:
    """Fuzz with libFuzzer, which sees the coverage of Python's code; it ends the process."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(  # pyright: ignore[reportAttributeAccessIssue]
        include=["framegate", "multipart", "yarl"]
    ):
        for name in [name for name in sys.modules if name.startswith(("framegate", "tests.fuzzing.targets"))]:
            del sys.modules[name]  # imported above, without instruments
        from tests.fuzzing.targets import TARGETS
    from tests.fuzzing.seeds import CORPUS, WORDS, seeds

    found = CORPUS / target
    found.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        corpus, words = Path(folder, "corpus"), Path(folder, "words")
        corpus.mkdir()
        for number, seed in enumerate([*seeds()[target], *(path.read_bytes() for path in found.iterdir())]):
            (corpus / str(number)).write_bytes(seed)
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[target]))
        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={seconds}",
                f"-timeout={TOO_LONG:.0f}",
                f"-dict={words}",
                f"-artifact_prefix={found}/",
                "-rss_limit_mb=2048",
                "-max_len=65536",
                "-print_final_stats=1",
                str(corpus),
            ],
            TARGETS[target],
        )
        atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def with_mutations(target: str, seconds: int) -> None:
    """Fuzz with what Hypothesis generates, in rounds of other seeds until the time is over."""
    from hypothesis import HealthCheck, given, seed, settings

    from tests.fuzzing.seeds import CORPUS
    from tests.fuzzing.strategies import inputs
    from tests.fuzzing.targets import TARGETS

    deadline = time.monotonic() + seconds
    failing: list[bytes] = []

    def feed(data: bytes) -> None:
        started = time.monotonic()
        try:
            TARGETS[target](data)
            assert time.monotonic() - started < TOO_LONG, "it took too long"
        except Exception:
            failing[:] = [data]
            raise

    while time.monotonic() < deadline:
        run = settings(
            max_examples=200,
            deadline=None,
            database=None,
            suppress_health_check=[
                HealthCheck.too_slow,
                HealthCheck.data_too_large,
                HealthCheck.large_base_example,
            ],
        )(given(inputs(target))(feed))
        try:
            seed(random.getrandbits(64))(run)()
        except Exception:
            traceback.print_exc()
            folder = CORPUS / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"found-{sha256(failing[0]).hexdigest()[:16]}").write_bytes(failing[0])
            sys.exit(1)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
