"""Ask the drivers which GPUs there are, and print them as JSON; `framegate.cli.devices` runs this program.

It calls the drivers' own libraries: torch takes seconds to import, and API hosts and supervisors have none.
"""

import ctypes
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from framegate.cli.devices import Device

_CUDA = ("libcuda.so.1", "nvcuda.dll")
_HIP = ("libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "/opt/rocm/lib/libamdhip64.so")
_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
_MAX_NAME = 256


def probe() -> Sequence[Device]:
    """Return the GPUs in the order in which torch numbers them."""
    if sys.platform == "darwin":
        return [Device("mps", "Apple GPU")] if platform.machine() == "arm64" else []
    return _cuda() or _rocm()


def _cuda() -> Sequence[Device]:
    library = _load(_CUDA)
    if library is None or library.cuInit(0) != 0:
        return []
    return _devices(library, "cuDeviceGetCount", "cuDeviceGet", "cuDeviceGetName", "cuDeviceTotalMem_v2")


def _rocm() -> Sequence[Device]:
    """Return AMD's GPUs: as HIP counts them or, where only torch brings HIP along, as the kernel does."""
    library = _load(_HIP)
    if library is not None:
        return _devices(library, "hipGetDeviceCount", "hipDeviceGet", "hipDeviceGetName", "hipDeviceTotalMem")
    count = sum(_has_compute_units(node) for node in _KFD_NODES.glob("*/properties"))
    shown = os.environ.get("HIP_VISIBLE_DEVICES", os.environ.get("ROCR_VISIBLE_DEVICES"))
    if shown is not None:
        count = min(count, len([part for part in shown.split(",") if part.strip()]))
    return [Device(f"cuda:{number}", "AMD GPU") for number in range(count)]


def _devices(library: ctypes.CDLL, count: str, get: str, name: str, memory: str) -> Sequence[Device]:
    """Call the four functions, which the two libraries declare alike; any result but 0 is an error."""
    found = ctypes.c_int(0)
    if getattr(library, count)(ctypes.byref(found)) != 0:
        return []
    devices: list[Device] = []
    for number in range(found.value):
        handle, text, size = ctypes.c_int(), ctypes.create_string_buffer(_MAX_NAME), ctypes.c_size_t(0)
        if getattr(library, get)(ctypes.byref(handle), number) != 0:
            continue
        getattr(library, name)(text, _MAX_NAME, handle)
        getattr(library, memory)(ctypes.byref(size), handle)
        devices.append(Device(f"cuda:{number}", text.value.decode(errors="replace"), size.value))
    return devices


def _has_compute_units(properties: Path) -> bool:
    """Return whether a node of the kernel's topology is a GPU; CPUs are nodes, too."""
    lines = (line.split() for line in properties.read_text().splitlines())
    return any(words[0] == "simd_count" and words[1] != "0" for words in lines if len(words) == 2)


def _load(names: Sequence[str]) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(probe()))
