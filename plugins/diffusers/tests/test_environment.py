"""What libraries read from the environment, in a process that has imported none of them yet."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from framegate.plugins.diffusers.environment import set_library_defaults
from tests.support.tiny_models import TinyModel

ALLOCATOR = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
LOAD = """
import json, os, sys
from framegate.plugins.wan21.backend import Wan21Backend

assert "torch" not in sys.modules and "diffusers" not in sys.modules
shards = []

class Counting(Wan21Backend):
    def _create_engine(self, device):
        engine = super()._create_engine(device)
        from diffusers.models import modeling_utils
        in_parallel = modeling_utils._load_shard_files_with_threadpool
        def counted(files, *arguments, **named):
            shards.append(len(files))
            return in_parallel(files, *arguments, **named)
        modeling_utils._load_shard_files_with_threadpool = counted
        return engine

backend = Counting(sys.argv[1])
backend.load("cpu")
transformer = backend.loaded_engine.pipeline.transformer
weights = sum(float(weight.detach().abs().sum()) for weight in transformer.parameters())
print(json.dumps({"shards": shards, "weights": weights, "allocator": os.environ["PYTORCH_ALLOC_CONF"]}))
"""


@pytest.mark.usefixtures("one_thread")
def test_shards_are_loaded_in_parallel(tiny_model: TinyModel, tmp_path: Path) -> None:
    from diffusers import WanTransformer3DModel

    folder = Path(shutil.copytree(tiny_model("wan21_t2v"), tmp_path / "model"))
    transformer: Any = WanTransformer3DModel.from_pretrained(str(folder), subfolder="transformer")
    shutil.rmtree(folder / "transformer")
    transformer.save_pretrained(folder / "transformer", max_shard_size="20KB")
    count = len(list((folder / "transformer").glob("*.safetensors")))
    assert count > 2
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in (*ALLOCATOR, "HF_ENABLE_PARALLEL_LOADING")
    }
    result = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(result.stdout.splitlines()[-1])
    assert count in found["shards"]
    assert found["weights"] == pytest.approx(
        sum(float(weight.detach().abs().sum()) for weight in transformer.parameters())
    )
    assert found["allocator"] == "expandable_segments:True"


@pytest.mark.parametrize("name", ALLOCATOR)
def test_what_the_operator_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for each in ALLOCATOR:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv("HF_ENABLE_PARALLEL_LOADING", "NO")
    monkeypatch.setenv(name, "max_split_size_mb:64")
    set_library_defaults()
    assert os.environ["HF_ENABLE_PARALLEL_LOADING"] == "NO"
    assert [os.environ.get(each) for each in ALLOCATOR if each != name] == [None]
    assert os.environ[name] == "max_split_size_mb:64"
