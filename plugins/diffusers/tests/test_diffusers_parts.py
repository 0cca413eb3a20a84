"""The parts that need no pipeline."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from framegate.core.errors import ConfigError, GenerationFailed, JobCancelled, OutOfMemory
from framegate.core.types import Task
from framegate.plugins.diffusers.attention import fastest_on
from framegate.plugins.diffusers.cancellation import CancelPoints, blocks_of
from framegate.plugins.diffusers.checkpoints import count_parameters, fetch
from framegate.plugins.diffusers.compiling import compile_wanted, keep_compiled
from framegate.plugins.diffusers.image_io import open_picture, open_video
from framegate.plugins.diffusers.memory import oom_as_job_error
from framegate.plugins.diffusers.options import Options, read_options
from framegate.plugins.diffusers.placement import GIB, choose
from framegate.plugins.diffusers.prompts import EmbeddingCache
from framegate.plugins.diffusers.requirements import require
from tests.support.tiny_models import counting_film, small_shot

CPU = torch.device("cpu")


def tensor(kilobytes: int) -> tuple[torch.Tensor]:
    return (torch.zeros(kilobytes * 1024, dtype=torch.uint8),)


def test_the_cache_stays_within_its_bytes_and_forgets_the_oldest() -> None:
    cache = EmbeddingCache(3 * 1024)
    for key in ("a", "b", "c", "a", "d"):
        cache.get(key, lambda: tensor(1))
    assert cache.num_bytes == 3 * 1024
    assert (cache.hits, cache.misses) == (1, 4)
    cache.get("a", lambda: pytest.fail("a was used last but one"))
    cache.get("b", lambda: tensor(1))
    assert cache.misses == 5, "b was the oldest"


def test_negative_prompts_outlast_any_number_of_prompts() -> None:
    cache = EmbeddingCache(3 * 1024)
    cache.get("bad", lambda: tensor(1), keep=True)
    for number in range(100):
        cache.get(str(number), lambda: tensor(1))
    cache.get("bad", lambda: pytest.fail("it was to be kept"), keep=True)
    for number in range(100):
        cache.get(f"bad {number}", lambda: tensor(1), keep=True)
    assert cache.num_bytes <= 3 * 1024, "they are bounded, too"


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = EmbeddingCache(1024)
    cache.get("small", lambda: tensor(1))
    assert cache.get("large", lambda: tensor(2))[0].numel() == 2048
    assert cache.num_bytes == 1024
    cache.get("small", lambda: pytest.fail("it had to stay"))


SIZES = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "vae": GIB}


@pytest.mark.parametrize(
    ("capacity", "offload"), [(140, "none"), (80, "none"), (48, "model"), (24, "group"), (8, "group")]
)
def test_the_first_placement_that_fits_is_chosen(capacity: int, offload: str) -> None:
    assert choose("auto", SIZES, capacity=capacity * GIB, headroom=12 * GIB).offload == offload


def test_a_placement_that_is_asked_for_is_taken_and_says_what_it_holds() -> None:
    resident = choose("none", SIZES, capacity=8 * GIB, headroom=12 * GIB)
    assert (resident.resident, resident.peak) == (40 * GIB, 52 * GIB)
    assert choose("model", SIZES, capacity=140 * GIB, headroom=GIB).peak == 29 * GIB


@pytest.mark.parametrize(
    ("capability", "flash_3", "backend"),
    [
        ((9, 0), True, "_flash_3"),
        ((9, 0), False, "_native_cudnn"),
        ((10, 0), True, "_native_cudnn"),
        ((8, 9), False, "native"),
    ],
)
def test_the_attention_kernel_goes_with_the_card(
    capability: tuple[int, int], flash_3: bool, backend: str
) -> None:
    assert fastest_on(capability, cudnn=True, flash_3=flash_3)[0] == backend


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"offlod": "none"}, "offlod"),
        ({"offload": "disk"}, "options.offload.*'disk'"),
        ({"cache_threshold": 0.0}, "options.cache_threshold"),
        ({"loras": [{"strength": 1.0}]}, r"options.loras\[0\].*source"),
        ({"warm_up": ["large"]}, r"options.warm_up\[0\]"),
    ],
)
def test_wrong_options_are_named(raw: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_options(raw)


def test_what_is_missing_is_told_with_what_brings_it() -> None:
    with pytest.raises(
        GenerationFailed, match=r"lacks no_such_module.*pip install 'framegate-wan22\[torch\]'"
    ):
        require("pip install 'framegate-wan22[torch]'", frozenset({"torch", "no_such_module"}))


def test_compiling_is_for_cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not compile_wanted(Options(compile=True), CPU, "none")
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = keep_compiled(Options(compile_cache=str(tmp_path / "compiled")))
    assert folder.is_dir()


def header(parameters: int) -> bytes:
    entry = {"weight": {"dtype": "F32", "shape": [parameters, 2], "data_offsets": [0, 8 * parameters]}}
    text = json.dumps({"__metadata__": {"format": "pt"}, **entry}).encode()
    return struct.pack("<Q", len(text)) + text


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    for component, name, parameters in (
        ("transformer", "model-00001-of-00002.safetensors", 10),
        ("transformer", "model-00002-of-00002.safetensors", 5),
        ("transformer", "model.fp16-00001-of-00002.safetensors", 15),
        ("vae", "model.safetensors", 1),
    ):
        (tmp_path / component).mkdir(exist_ok=True)
        (tmp_path / component / name).write_bytes(header(parameters))
    assert count_parameters(tmp_path) == {"transformer": 30, "vae": 2}
    assert count_parameters(tmp_path, "fp16") == {"transformer": 30}
    (tmp_path / "vae" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(GenerationFailed, match=r"model\.safetensors can't be read"):
        count_parameters(tmp_path)


@pytest.mark.parametrize("source", ["/nowhere/model", "./model", "~/no-such-model"])
def test_a_folder_that_is_not_there_is_no_hub_id(source: str) -> None:
    with pytest.raises(GenerationFailed, match=r"There is no folder '(no-such-)?model'") as caught:
        fetch(source, Options())
    assert "nowhere" not in str(caught.value), "no path of the worker"


def test_a_folder_in_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GenerationFailed, match="diffusers' layout"):
        fetch(str(tmp_path), Options())


def test_a_hub_id_that_was_never_fetched_needs_the_hub() -> None:
    with pytest.raises(GenerationFailed, match="not on this worker"):
        fetch("framegate/never-fetched", Options(offline=True))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("can't allocate memory: 1 TB"),
    ],
)
def test_running_out_of_memory_says_what_would_fit(error: Exception) -> None:
    shot = small_shot(Task.TEXT_TO_VIDEO, width=1280, height=704, num_frames=121)
    with pytest.raises(OutOfMemory) as caught, oom_as_job_error("denoising", CPU, shot):
        raise error
    message = caught.value.message
    assert "while denoising 1280×704 with 121 frames" in message
    assert "896×480 or 61 frames" in message
    assert caught.value.__cause__ is None


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="a bug"), oom_as_job_error("denoising", CPU):
        raise RuntimeError("a bug")


def test_cancel_points_stand_before_every_block() -> None:
    blocks = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    model = torch.nn.Sequential(torch.nn.ModuleDict({"blocks": blocks}), torch.nn.Linear(2, 2))
    assert len(blocks_of(model)) == 3
    points = CancelPoints(CPU)
    points.install(model)
    passed: list[int] = []

    def check() -> None:
        passed.append(1)
        if len(passed) == 2:
            raise JobCancelled

    def run() -> None:
        for block in blocks:
            block(torch.ones(2))

    with pytest.raises(JobCancelled), points.heed(check):
        run()
    assert len(passed) == 2, "the third block was not begun"
    run()
    assert len(passed) == 2, "nothing is left of the job"


def test_pictures_are_cropped_and_not_stretched(tmp_path: Path) -> None:
    wide = Image.new("RGB", (300, 100), "white")
    wide.paste("black", (100, 0, 200, 100))
    wide.save(tmp_path / "wide.png")
    middle = np.asarray(open_picture(tmp_path / "wide.png", 64, 64))
    assert middle.shape == (64, 64, 3)
    assert middle.mean() < 3, "the black middle alone"
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(GenerationFailed, match="can't be read"):
        open_picture(tmp_path / "text.png", 64, 64)
    with pytest.raises(GenerationFailed, match="the job has none"):
        open_picture(None, 64, 64)


def shown(frames: list[Image.Image]) -> list[int]:
    return [round(float(np.asarray(frame).mean()) / 20) for frame in frames]


def test_videos_are_taken_at_the_models_rate(tmp_path: Path) -> None:
    film = counting_film(tmp_path / "film.mp4", 9, 16)
    assert shown(open_video(film, 64, 64, 9, 16.0)) == list(range(9))
    assert shown(open_video(film, 64, 64, 4, 8.0)) == [0, 2, 4, 6]
    assert shown(open_video(film, 64, 64, 6, 32.0)) == [0, 0, 1, 1, 2, 2]


def test_a_short_video_runs_back_and_forth(tmp_path: Path) -> None:
    film = counting_film(tmp_path / "film.mp4", 3, 16)
    assert shown(open_video(film, 64, 64, 8, 16.0)) == [0, 1, 2, 1, 0, 1, 2, 1]
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(GenerationFailed, match="can't be read"):
        open_video(tmp_path / "text.mp4", 64, 64, 8, 16.0)
