"""Models in miniature on the disk, each made once per test run, and what tests do with them."""

import gc
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framegate.core.backend import Backend, FrameStream
from framegate.core.testing import RecordingContext
from framegate.core.types import Shot, Task

TinyModel = Callable[[str], Path]


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
    """Models this small are several times faster on one; and so is unloading them once the libraries' own
    objects are no longer looked through for garbage."""
    import torch

    for slow in ("diffusers", "transformers"):
        import_module(slow)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    gc.unfreeze()
    torch.set_num_threads(before)


def small_shot(task: Task, **values: Any) -> Shot:
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


def made(backend: Backend, shot: Shot, context: RecordingContext) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """All frames of a shot: uint8, frames × height × width × 3."""
    output = backend.generate(shot, context)
    assert isinstance(output, FrameStream)
    return np.stack(list(output.frames))


def counting_film(path: Path, frames: int, rate: int) -> Path:
    """A video of 64×64 whose frames get lighter, one by one."""
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(frames):
            pixels = np.full((64, 64, 3), index * 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
