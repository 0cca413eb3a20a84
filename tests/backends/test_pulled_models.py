"""Models that were pulled from a hub: complete for diffusers, which then loads them offline."""

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants, hf_api

from framegate.cli.hub.repositories import Repository
from framegate.core.backend import Backend
from framegate.core.errors import GenerationFailed
from framegate.plugins.diffusers.hub_files import lora_files, pipeline_files, upsampler_files
from framegate.plugins.ltx2.backend import Ltx2Backend
from framegate.plugins.wan21.backend import Wan21Backend
from tests.support.hub import FakeHub, FakeRepository, running_hub
from tests.support.tiny_models import TinyModel, one_thread, tiny_model

__all__ = ["one_thread", "tiny_model"]

pytestmark = pytest.mark.filterwarnings(
    # diffusers passes arguments on that huggingface_hub no longer knows
    "ignore:The `(proxies|local_dir_use_symlinks)` argument:UserWarning"
)

INDEX = {
    "_class_name": "WanPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "safety_checker": [None, None],
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
}
COMMON = [
    ".gitattributes",
    "README.md",
    "model_index.json",
    "pipeline.py",
    "tokenizer.json",
    "original.safetensors",
    "assets/example.png",
    "unet/config.json",
    "unet/README.md",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.bin",
    "text_encoder/config.json",
    "text_encoder/generation_config.json",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "tokenizer/vocab.json",
    "tokenizer/deep/merges.txt",
    "scheduler/scheduler_config.json",
    "onnx/model.onnx",
]
WHOLE = ["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.onnx"]
SHARDS = [
    "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.json",
    "unet/diffusion_pytorch_model-00001-of-00001.bin",
    "unet/diffusion_pytorch_model.bin.index.json",
]
HALF = [
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.fp16.bin",
    "text_encoder/model.fp16.safetensors",
]
HALF_SHARDS = [
    "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
    "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
    "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
]
LEGACY_SHARDS = [
    "unet/diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
    "unet/diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
    "unet/diffusion_pytorch_model.safetensors.fp16.index.json",
]
LAYOUTS = {
    "whole": (WHOLE, ""),
    "shards": (SHARDS, ""),
    "both": ([*WHOLE, *SHARDS], ""),
    "half beside whole": ([*WHOLE, *HALF], ""),
    "half": ([*WHOLE, *HALF], "fp16"),
    "half shards": ([*SHARDS, *HALF_SHARDS], "fp16"),
    "legacy shards": ([*WHOLE, *LEGACY_SHARDS], "fp16"),
}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub, and an empty cache for what is pulled from it."""
    with running_hub() as hub:
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(hf_api.api, "endpoint", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield hub


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def read_index(name: str) -> bytes:
    assert name == "model_index.json"
    return json.dumps(INDEX).encode()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_files_are_those_that_diffusers_downloads(hub: FakeHub, tmp_path: Path, layout: str) -> None:
    from diffusers import DiffusionPipeline

    weights, variant = LAYOUTS[layout]
    files = {name: name.encode() for name in (*COMMON, *weights)}
    hub.repositories["authors/model"] = FakeRepository(
        {**files, "model_index.json": read_index("model_index.json")}
    )
    pipeline_class: Any = DiffusionPipeline
    folder = pipeline_class.download(
        "authors/model", cache_dir=tmp_path, variant=variant or None, use_safetensors=True
    )
    assert set(pipeline_files(files, read_index, variant=variant)) == files_below(Path(folder))


NO_WEIGHTS: list[tuple[Collection[str], str, str]] = [
    (["README.md"], "", "no model_index.json"),
    ([*COMMON, "unet/diffusion_pytorch_model.bin"], "", "its unet has no weights in the safetensors format"),
    ([*COMMON, *WHOLE], "fp16", "no weights of the variant 'fp16'"),
]


@pytest.mark.parametrize(("names", "variant", "words"), NO_WEIGHTS)
def test_what_can_not_be_loaded_is_not_pulled(names: Collection[str], variant: str, words: str) -> None:
    with pytest.raises(GenerationFailed, match=words):
        pipeline_files(names, read_index, variant=variant)


def test_a_lora_is_the_file_that_is_named_or_guessed() -> None:
    names = ["README.md", "scheduler.safetensors", "a.safetensors", "b/pytorch_lora_weights.safetensors"]
    assert lora_files(names, read_index, weight_name="a.safetensors") == ["a.safetensors"]
    assert lora_files(names, read_index) == ["b/pytorch_lora_weights.safetensors"]
    assert lora_files(names[:3], read_index) == ["a.safetensors"]
    with pytest.raises(GenerationFailed, match="no file c"):
        lora_files(names, read_index, weight_name="c.safetensors")
    with pytest.raises(GenerationFailed, match=r"no \.safetensors"):
        lora_files(names[:2], read_index)
    with pytest.raises(GenerationFailed, match="no latent_upsampler/"):
        upsampler_files(names, read_index)


def pull_and_load(hub: FakeHub, backend: Backend) -> list[str]:
    """Return the settings whose repositories were pulled, after the backend was loaded without the hub."""
    pulled = [Repository(needed) for needed in backend.hub_downloads()]
    for repository in pulled:
        repository.pull(lambda _: None)
    hub.repositories.clear()
    hub.served.clear()
    backend.options = {**backend.options, "offline": True}
    backend.load("cpu")
    backend.unload()
    assert hub.served == []
    return [repository.needed.setting for repository in pulled]


@pytest.mark.usefixtures("one_thread")
def test_a_pulled_model_and_its_lora_load_offline(
    hub: FakeHub, tiny_model: TinyModel, tmp_path: Path
) -> None:
    from framegate.plugins.diffusers.testing import save_lora

    lora = save_lora("wan21_t2v", tmp_path / "lora", 1.0)
    hub.repositories["authors/model"] = FakeRepository.of(tiny_model("wan21_t2v"))
    hub.repositories["authors/lora"] = FakeRepository({lora.name: lora.read_bytes()})
    options: dict[str, Any] = {"loras": [{"source": "authors/lora", "weight_name": lora.name}]}
    assert pull_and_load(hub, Wan21Backend("authors/model", options)) == ["source", "loras[0]"]


@pytest.mark.usefixtures("one_thread")
def test_both_stages_of_a_pulled_ltx2_load_offline(hub: FakeHub, tiny_model: TinyModel) -> None:
    model = FakeRepository.of(tiny_model("ltx2_distilled"))
    upsampler = FakeRepository.of(tiny_model("latent_upsampler"))
    files = {f"latent_upsampler/{name}": content for name, content in upsampler.files.items()}
    hub.repositories["authors/ltx2"] = FakeRepository({**model.files, **files})
    backend = Ltx2Backend("authors/ltx2", {"stages": 2, "schedule": "distilled"})
    assert pull_and_load(hub, backend) == ["source", "upsampler"]
