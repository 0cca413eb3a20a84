"""The devices of this host that models can run on, found without torch."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec
import structlog
from msgspec import Struct

from framegate.core.errors import ConfigError

CPU = "cpu"
AUTO = "auto"
PROBE_SECONDS = 30.0
"""How long the drivers may take to answer; the first call after a boot takes seconds."""
_PROBE = (sys.executable, "-m", "framegate.cli.device_probe")
_NAME = re.compile(r"cuda(:(0|[1-9][0-9]{0,3}))?|mps|cpu")
log = structlog.get_logger(__name__)


class Device(Struct, frozen=True):
    """A GPU: its name as torch writes it, what it is, and its memory in bytes (0 if that is unknown)."""

    name: str
    description: str = ""
    memory: int = 0


class GpuProbe:
    """Asks the drivers for this host's GPUs while something else is done; leave the block to end it.

    A process of its own asks: drivers keep threads and memory, and a broken one may hang or crash.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 # nosec B603 # this interpreter, a module of ours
            _PROBE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def __enter__(self) -> "GpuProbe":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def find(self) -> Sequence[Device]:
        """Return those of NVIDIA and AMD that the environment shows ("cuda:0"), or Apple's."""
        try:
            output, errors = self._process.communicate(timeout=PROBE_SECONDS)
            if status := self._process.returncode:
                raise subprocess.CalledProcessError(status, _PROBE, output, errors)
            return msgspec.json.decode(output, type=list[Device])
        except (subprocess.SubprocessError, msgspec.DecodeError) as error:
            log.warning("devices_unknown", reason=str(error))
            return ()


def find_gpus() -> Sequence[Device]:
    """Return this host's GPUs; see `GpuProbe.find`."""
    with GpuProbe() as probe:
        return probe.find()


def choose_devices(requested: str, find: Callable[[], Sequence[Device]] = find_gpus) -> Sequence[str]:
    """Return the devices that "auto" or a list such as "cuda:0,cuda:1" stands for, in its order.

    "auto" is every GPU that ``find`` returns, or the CPU if there is none.

    Raises:
        ConfigError: One is not a device's name, or this host doesn't have it.
    """
    names = [name.strip() for name in requested.split(",")]
    for name in names:
        if name != AUTO and not _NAME.fullmatch(name):
            raise ConfigError(
                f'--devices: {name!r} is not a device; write "auto", "cpu", "mps", or GPUs such as '
                '"cuda:0,cuda:1".'
            )
    if set(names) == {CPU}:
        return names
    found = [device.name for device in find()]
    if names == [AUTO]:
        return found or [CPU]
    if AUTO in names:
        raise ConfigError('--devices: write either "auto" or a list of devices, not both.')
    chosen = ["cuda:0" if name == "cuda" else name for name in names]
    for name in chosen:
        if name not in (*found, CPU):
            raise ConfigError(f"--devices: there is no {name}; this host has {_listed(found)}.")
    return chosen


def spread(devices: Sequence[str], workers: int) -> Sequence[str]:
    """Return the device of each of that many workers, in turn."""
    return [devices[number % len(devices)] for number in range(workers)]


def _listed(gpus: Sequence[str]) -> str:
    if not gpus:
        return "no GPU, only cpu"
    return f"{' and '.join(', '.join(gpus).rsplit(', ', 1))} (and cpu)"
