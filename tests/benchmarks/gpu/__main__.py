"""`python -m tests.benchmarks.gpu PART…`: check the machine, then measure part by part."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.gpu.environment import environment, limits, problems
from tests.benchmarks.gpu.report import Report

PARTS = ("smoke", "vae", "stacks", "whole", "targets")
SECONDS = 90.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that ``arguments`` name.

    Raises:
        SystemExit: The machine lacks what the benchmark needs, or an argument is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.gpu",
        description="Measure the diffusers backends on a GPU, beside plain diffusers.",
    )
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"{', '.join(PARTS)}, or one model of a part, such as stacks:wan21; by default everything. "
        "check prints what is installed, and why the benchmark can't run",
    )
    parser.add_argument("--output", type=Path, help="write OUTPUT.jsonl, a line per row, and OUTPUT.md")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="for each PART; rows that begin later are not run"
    )
    parser.add_argument(
        "--earlier",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="continue the rows of .jsonl files",
    )
    parser.add_argument("--device", help="cuda where there is one, else the CPU with tiny models")
    options = parser.parse_args(arguments)
    parts: list[str] = options.parts or list(PARTS)
    for part in parts:
        if part.partition(":")[0] not in (*PARTS, "check"):
            parser.error(f"there is no part {part!r}; there are {', '.join(PARTS)}")
    here = environment()
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    if sentences := problems():
        raise SystemExit("\n".join(sentences))
    for sentence in limits():
        print(sentence)
    if parts == ["check"]:
        return
    from tests.benchmarks.gpu.parts import run_part

    report = Report(here, options.output, options.earlier)
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            run_part(part, report, options.device, Path(folder), options.seconds)


if __name__ == "__main__":
    main()
