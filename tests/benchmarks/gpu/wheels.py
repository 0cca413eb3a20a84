"""Collect the wheels that a CUDA machine with its own torch and transformers lacks: `make gpu-wheels`.

What is there already is what those two depend on; everything else of the diffusers backends travels. The
versions are those of this environment, which has the ones of constraints.txt.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[3]
OURS = ("core", "adapters/media", "plugins/diffusers", "plugins/wan21", "plugins/wan22", "plugins/ltx2")
"""The distributions that the benchmark imports."""
NEEDED = ("framegate-wan21", "framegate-wan22", "framegate-ltx2", "framegate-diffusers[torch,small]")
PRESENT = ("torch", "transformers", "accelerate")
"""What the machine has: with everything that they depend on it stays as it is there."""
_PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)


def dependencies(roots: Iterable[str]) -> set[str]:
    """Return the names of all distributions that ``roots`` ("name" or "name[extra]") need, themselves too.

    It reads what is installed here.
    """
    found: set[str] = set()
    waiting = [Requirement(root) for root in roots]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for text in requires(name) or ():
            needed = Requirement(text)
            chosen = ({"extra": extra} for extra in ("", *extras))
            if needed.marker is None or any(map(needed.marker.evaluate, chosen)):
                waiting.append(needed)
    return found


def lacking(present: Iterable[str] = ()) -> list[str]:
    """Return what the machine lacks as NAME==VERSION, without our own distributions.

    ``present`` are distributions that it has besides the usual ones.
    """
    missing = dependencies(NEEDED) - dependencies(PRESENT) - set(map(canonicalize_name, present))
    return sorted(f"{name}=={version(name)}" for name in missing if not name.startswith("framegate-"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill a folder with wheels, and print what is in it and how to install it.

    Raises:
        SystemExit: A wheel can't be fetched or built.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu.wheels", description=__doc__)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--into", type=Path, default=REPOSITORY / "gpu-wheels")
    parser.add_argument(
        "--python", default=here, help="the machine's version of Python, this one's by default"
    )
    parser.add_argument(
        "--present", nargs="+", default=[], metavar="NAME", help="what the machine has besides the usual"
    )
    parser.add_argument("--list", action="store_true", help="only print what would be collected")
    options = parser.parse_args(arguments)
    names = lacking(options.present)
    if options.list:
        print("\n".join([*names, *OURS]))
        return
    options.into.mkdir(parents=True, exist_ok=True)
    for stale in options.into.glob("*.whl"):
        stale.unlink()
    _pip("wheel", "--no-build-isolation", "--wheel-dir", options.into, *(REPOSITORY / path for path in OURS))
    target = ["--only-binary=:all:", "--python-version", options.python, "--implementation", "cp"]
    for platform in _PLATFORMS:
        target += ["--platform", platform]
    _pip("download", *target, "--dest", options.into, *names)
    sizes = {file.name: file.stat().st_size for file in sorted(options.into.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size / 2**20:6.1f} MiB  {name}")
    total = sum(sizes.values())
    print(f"{total / 2**20:6.1f} MiB  together\n\nThere, from the checkout:")
    folder = options.into.name
    print(f"  python -m pip install --no-index --no-deps --find-links {folder} {folder}/*.whl")
    print("  python -m tests.benchmarks.gpu check")


def _pip(command: str, *arguments: object) -> None:
    program = [sys.executable, "-m", "pip", "--disable-pip-version-check", command, "--quiet", "--no-deps"]
    if subprocess.run([*program, *map(str, arguments)], check=False).returncode:
        raise SystemExit(f"pip {command} failed; its message is above.")


if __name__ == "__main__":
    main()
