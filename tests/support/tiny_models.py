"""Tiny models on disk, each built once per test run, and what tests do with them."""

import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import av
import numpy as np
import pytest
from msgspec.structs import replace

from framegate.core.backend import Backend, FrameStream
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.wan.backend import WanBackend

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

TinyModel = Callable[[str], Path]
BackendT = TypeVar("BackendT", bound=DiffusersBackend)
LoadedT = TypeVar("LoadedT", bound=DiffusersBackend, covariant=True)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """The folder of one of `framegate.plugins.diffusers.testing.TINY_MODELS`."""
    folder = tmp_path_factory.mktemp("tiny-models")

    @cache
    def saved(name: str) -> Path:
        from framegate.plugins.diffusers.testing import save

        return save(name, folder / name)

    return saved


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Compute on one thread, which is several times faster for models this small.

    Unloading them is, too, once the libraries' own objects are no longer searched for garbage.
    """
    import torch

    for slow in ("diffusers", "transformers"):
        import_module(slow)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(before)


class LoadTiny(Protocol[LoadedT]):
    """Loads the tiny model ``name`` with ``options``."""

    def __call__(self, name: str, **options: Any) -> LoadedT: ...


@contextmanager
def loading(backend_class: type[BackendT], tiny_model: TinyModel) -> Generator[LoadTiny[BackendT]]:
    """Yield a function that loads tiny models on the CPU; they are unloaded at the end."""
    loaded: list[BackendT] = []

    def load(name: str, **options: Any) -> BackendT:
        backend = backend_class(str(tiny_model(name)), options)
        backend.load("cpu")
        loaded.append(backend)
        return backend

    yield load
    for backend in loaded:
        backend.unload()


class AnyWanBackend(WanBackend):
    """For tests of what the Wan backends share."""

    install = "pip install nothing"


class Calls:
    """Counts the calls of a model; raises ``error`` at call number ``fail_at``."""

    def __init__(self, model: "torch.nn.Module", error: Exception | None = None, fail_at: int = 0) -> None:
        self.count = 0
        self._error, self._fail_at = error, fail_at
        self._hook = model.register_forward_pre_hook(self._called)

    def _called(self, *_: object) -> None:
        self.count += 1
        if self._error is not None and self.count == self._fail_at:
            raise self._error

    def __enter__(self) -> "Calls":
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def small_shot(task: Task, **values: Any) -> Shot:
    """A shot of 9 frames, 96×64, in two steps, but for ``values``."""
    defaults: dict[str, Any] = {
        "prompt": "a red ball on a green field",
        "width": 96,
        "height": 64,
        "num_frames": 9,
        "fps": 16.0,
        "seed": 7,
        "num_inference_steps": 2,
        "guidance_scale": 3.0,
    }
    return Shot(task=task, **{**defaults, **values})


IMAGE_SHOT = small_shot(Task.TEXT_TO_IMAGE, num_frames=1, fps=0.0, num_inference_steps=4)
IMAGE_TO_IMAGE_SHOT = replace(IMAGE_SHOT, task=Task.IMAGE_TO_IMAGE, strength=0.6)


def generate(backend: Backend, shot: Shot, context: RecordingContext) -> "NDArray[np.uint8]":
    """All frames of a shot: uint8, frames × height × width × 3."""
    output = backend.generate(shot, context)
    assert isinstance(output, FrameStream)
    return np.stack(list(output.frames))


def write_video(
    path: Path, *, frames: int = 9, size: tuple[int, int] = (96, 64), first: int = 0, rate: int = 16
) -> Path:
    """A video whose frames are plain grey; each is lighter by 20 than the one before."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            pixels = np.full((size[1], size[0], 3), (first + index * 20) % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
