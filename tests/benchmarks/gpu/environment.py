"""What a machine has: the versions that a report begins with, and whether the benchmark can run there.

It imports no torch itself, so that it can say that torch is missing.
"""

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from shutil import which

PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "peft", "torchao", "cache-dit", "kernels")
"""Those that the report names."""
REQUIRED = {"torch": (2, 11), "transformers": (5, 17), "diffusers": (0, 42), "accelerate": (1, 15)}
"""The oldest versions with which the benchmark can be expected to run."""
OPTIONAL = {
    "torchao": "rows with fp8 or int8",
    "cache-dit": "rows with a step cache",
    "kernels": "rows with a kernel from the hub",
    "peft": "nothing of the benchmark, but the backends ask for it",
}
"""What can't run without a package."""


def versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment() -> dict[str, str]:
    """Return the header of a report: date, versions, card and driver."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "Python": platform.python_version(),
        **versions(),
        **_card(),
    }


def problems() -> list[str]:
    """Return why the benchmark can't run here, a sentence each; with none it can."""
    found = versions(tuple(REQUIRED))
    sentences: list[str] = []
    for name, oldest in REQUIRED.items():
        wanted = ".".join(map(str, oldest))
        if name not in found:
            sentences.append(f"{name} is not installed; {wanted} or newer is needed.")
        elif _numbers(found[name]) < oldest:
            sentences.append(f"{name} {found[name]} is too old; {wanted} or newer is needed.")
    return sentences


def limits() -> list[str]:
    """Return which rows can't run here, a sentence each."""
    found = versions((*OPTIONAL, "transformers"))
    return [f"{name} is not installed: {what}." for name, what in OPTIONAL.items() if name not in found]


def _card() -> dict[str, str]:
    program = which("nvidia-smi")
    if program is None:
        return {"card": "none"}
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    name, _, driver = answer.stdout.strip().partition("\n")[0].partition(", ")
    return {"card": name or "none", "driver": driver or "none"}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("+")[0].split(".")[:2] if part.isdigit())
