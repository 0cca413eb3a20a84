"""A plugin that makes trouble: its model does what the prompt says, and its worker dies where it is told.

`trouble_environ` installs it for the processes of a server. With `DIE_AT` set to one of `POINTS`, the first
worker that comes there is killed with -9, once. The model's twins share a queue, `SLOW` loads until the file
``loadable`` is in the plugin's folder, `BROKEN` can't be loaded, and `FATAL` kills its worker. Prompts:

- ``draw 20`` takes 20 ms for each frame.
- ``until go`` stands at the second frame until the file ``go`` is in the plugin's folder.
- ``sleep 12`` sleeps 12 seconds, deaf to everything.
- ``hold 12`` keeps the GIL in a native call of 12 seconds; ``hold-once 12`` does so the first time only.
- ``fork-and-hold 12`` does so too, beside a process that it has started, whose id is in the file ``forked``.
- ``die`` kills its own worker with -9.
- ``fail`` raises an error.
- ``eat 2000`` allocates 2000 MB of the host's memory.
"""

import ctypes
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framegate.core.backend import Backend, FrameStream, GenerationContext, Output
from framegate.core.errors import GenerationFailed
from framegate.core.models import Defaults, FrameRule, ModelSpec, SizeRule
from framegate.core.plugins import hookimpl
from framegate.core.types import Shot, Task

if TYPE_CHECKING:
    from framegate.core.backend import Frame

REPOSITORY = Path(__file__).parents[2]
DIE_AT, FOLDER = "TROUBLE_DIE_AT", "TROUBLE_FOLDER"

MODEL = ModelSpec(
    id="trouble",
    summary="Does what the prompt says",
    backend=f"{__name__}:Trouble",
    tasks=frozenset({Task.TEXT_TO_VIDEO}),
    sizes=SizeRule(multiple_of=16, min_side=16),
    frames=FrameRule(step=1, offset=0, min=1, max=10_000),
    defaults=Defaults(width=64, height=64, fps=10.0, num_frames=4),
)


TWINS = [replace(MODEL, id=name, queue_group="twins") for name in ("left", "right")]
BROKEN = replace(MODEL, id="broken", backend=f"{__name__}:Unloadable")
FATAL = replace(MODEL, id="fatal", backend=f"{__name__}:Fatal")
SLOW = replace(MODEL, id="slow", backend=f"{__name__}:SlowToLoad")


class Trouble(Backend):
    def generate(self, shot: Shot, context: GenerationContext) -> Output:
        return FrameStream(self._frames(shot, context))

    def _frames(self, shot: Shot, context: GenerationContext) -> "Iterator[Frame]":
        import numpy as np

        what, _, argument = shot.prompt.partition(" ")
        match what:
            case "sleep":
                time.sleep(float(argument))
            case "hold":
                _hold(int(argument))
            case "hold-once":
                with suppress(FileExistsError):
                    _mark("held")
                    _hold(int(argument))
            case "fork-and-hold":
                _fork()
                _hold(int(argument))
            case "die":
                _die()
            case "eat":
                np.ones(int(argument) * 10**6, np.uint8)
            case "fail":
                raise GenerationFailed("It was told to fail.")
            case _:
                pass
        for index in range(shot.num_frames):
            context.report(index, shot.num_frames)
            if what == "draw":
                time.sleep(float(argument) / 1000)
            if what == "until" and index == 1:
                _wait_for(argument, context)
            yield np.full((shot.height, shot.width, 3), 10 * index % 256, np.uint8)


class SlowToLoad(Trouble):
    def load(self, device: str) -> None:
        super().load(device)
        while not (_folder() / "loadable").exists():
            time.sleep(0.05)


class Unloadable(Trouble):
    def load(self, device: str) -> None:
        raise GenerationFailed("Its weights are damaged.")


class Fatal(Trouble):
    def load(self, device: str) -> None:
        _die()


@hookimpl
def framegate_models() -> list[ModelSpec]:
    return [MODEL, *TWINS, SLOW, BROKEN, FATAL]


def trouble_environ(folder: Path, *, die_at: str = "") -> dict[str, str]:
    """The environment of processes that have the plugin; ``folder`` is made."""
    info = folder / "trouble-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trouble\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[framegate]\ntrouble = {__name__}\n")
    path = os.pathsep.join([str(folder), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path.rstrip(os.pathsep), DIE_AT: die_at, FOLDER: str(folder)}


def _hold(seconds: int) -> None:
    ctypes.PyDLL(None).sleep(seconds)


def _fork() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    (_folder() / "forked.new").write_text(str(process.pid))
    (_folder() / "forked.new").rename(_folder() / "forked")


def _wait_for(name: str, context: GenerationContext) -> None:
    while not (_folder() / name).exists():
        context.check_cancelled()
        time.sleep(0.02)


def _mark(name: str) -> None:
    """Leave a file of that name.

    Raises:
        FileExistsError: It was there already.
    """
    (_folder() / name).touch(exist_ok=False)


def _folder() -> Path:
    return Path(os.environ[FOLDER])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once() -> None:
    try:
        _mark("died")
    except FileExistsError:
        return
    _die()


def _wrap(owner: Any, name: str, *, before: bool, nth: int = 1) -> None:
    """Let the ``nth`` call of a method end its process, before or after it did its work."""
    method: Callable[..., Any] = getattr(owner, name)
    calls = iter(range(1, 1_000_000_000))

    @functools.wraps(method)
    def dying(*arguments: Any, **named: Any) -> Any:
        now = next(calls) == nth
        if now and before:
            _die_once()
        result = method(*arguments, **named)
        if now and not before:
            _die_once()
        return result

    setattr(owner, name, dying)


def _before_claim() -> None:
    from framegate.storage.jobs.worker_store import WorkerStore

    _wrap(WorkerStore, "claim", before=True)


def _after_claim() -> None:
    from framegate.storage.jobs.worker_store import WorkerStore

    _wrap(WorkerStore, "claim", before=False)


def _mid_encode() -> None:
    from framegate.media.video.encode import VideoEncoder

    _wrap(VideoEncoder, "write", before=False, nth=3)


def _before_rename() -> None:
    from framegate.storage.artifacts.folder import FolderStore

    _wrap(FolderStore, "put", before=True)


def _after_rename() -> None:
    from framegate.storage.artifacts.folder import FolderStore

    _wrap(FolderStore, "put", before=False)


def _before_close() -> None:
    from framegate.storage.jobs.worker_store import WorkerStore

    _wrap(WorkerStore, "succeed", before=True)


def _after_close() -> None:
    from framegate.storage.jobs.worker_store import WorkerStore

    _wrap(WorkerStore, "succeed", before=False)


POINTS: dict[str, Callable[[], None]] = {
    "before claim": _before_claim,
    "after claim": _after_claim,
    "mid-encode": _mid_encode,
    "before rename": _before_rename,
    "after rename": _after_rename,
    "before close": _before_close,
    "after close": _after_close,
}

if "worker" in sys.argv and (_point := os.environ.get(DIE_AT)):
    POINTS[_point]()
