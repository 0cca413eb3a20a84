"""The memory of a server's processes, sampled while an attack runs."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType

import psutil

_INTERVAL = 0.02


def api_processes(pid: int) -> Iterator[psutil.Process]:
    """Yield the API's process and its children: decoders, but neither workers nor Valkey."""
    with suppress(psutil.Error):
        yield from _own(psutil.Process(pid))


def worker_processes(pid: int) -> Iterator[psutil.Process]:
    """Yield the workers of a server, and their children."""
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children():
            if _runs(child, "worker"):
                yield child
                yield from child.children(recursive=True)


def _own(process: psutil.Process) -> Iterator[psutil.Process]:
    yield process
    for child in process.children():
        if not _runs(child, "worker") and not _runs(child, "valkey"):
            yield from _own(child)


def _runs(process: psutil.Process, what: str) -> bool:
    with suppress(psutil.Error):
        command = process.cmdline()
        return "valkey" in "".join(command[:1]) if what == "valkey" else what in command[1:5]
    return False


class MemoryWatch:
    """Sample the resident memory of processes while the block runs; ``growth`` is in bytes."""

    def __init__(
        self, pid: int, processes: Callable[[int], Iterator[psutil.Process]] = api_processes
    ) -> None:
        self._pid = pid
        self._processes = processes
        self._ended = threading.Event()
        self.start = self.peak = 0

    @property
    def growth(self) -> int:
        """How much more memory there was at the peak than at the start."""
        return self.peak - self.start

    def __enter__(self) -> "MemoryWatch":
        self.start = self.peak = _resident(list(self._processes(self._pid)))
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_INTERVAL):
            self.peak = max(self.peak, _resident(list(self._processes(self._pid))))


def _resident(processes: Sequence[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total
