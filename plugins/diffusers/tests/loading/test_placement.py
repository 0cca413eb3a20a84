"""Where weights are kept."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from framegate.cli.model_memory import usable_memory
from framegate.core.errors import GenerationFailed, OutOfMemory
from framegate.plugins.diffusers import engine as engine_module
from framegate.plugins.diffusers.backend import DiffusersBackend
from framegate.plugins.diffusers.loading import placement as placement_module
from framegate.plugins.diffusers.loading.placement import plan_placement
from framegate.plugins.diffusers.options import Options
from framegate.plugins.diffusers.planning.activations import Activations
from framegate.plugins.diffusers.planning.placement import GIB, choose_placement
from tests.support.full_models import FULL_MODELS, FullModel, backend_for
from tests.support.memory_table import choice, plans
from tests.support.tiny_models import AnyWanBackend, TinyModel

SIZES = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "transformer_2": 27 * GIB, "vae": GIB}
ACTIVATIONS = Activations(
    encode=GIB, condition=2 * GIB, denoise=12 * GIB, decode=16 * GIB, decode_tiled=4 * GIB
)

CHOICES = {
    "Wan2.1-T2V-1.3B": ("text-encoder", "none", "none", "none", "none"),
    "Wan2.1-T2V-14B": ("group", "model", "text-encoder", "none", "none"),
    "Wan2.1-I2V-14B-480P": ("group", "model", "text-encoder", "none", "none"),
    "Wan2.1-I2V-14B-720P": ("group", "model", "model", "none", "none"),
    "Wan2.2-TI2V-5B": ("model", "none", "none", "none", "none"),
    "Wan2.2-T2V-A14B": ("group", "model", "model", "text-encoder", "none"),
    "Wan2.2-I2V-A14B": ("group", "model", "model", "text-encoder", "none"),
    "LTX-2": ("group", "model", "model", "none", "none"),
    "LTX-2, its largest shot": ("does not fit", "group, tiles", "group, tiles", "model", "none"),
    "LTX-2, two stages, distilled weights": ("group, tiles", "model", "model", "text-encoder", "none"),
    "LTX-2, two stages, full weights": ("group, tiles", "group", "group", "text-encoder", "none"),
    "LTX-2.3": ("group", "model", "model", "none", "none"),
    "FLUX.1-dev": ("group", "none", "none", "none", "none"),
    "Qwen-Image": ("group", "model", "model", "none", "none"),
    "Stable Diffusion XL": ("none", "none", "none", "none", "none"),
}
"""What "auto" takes on cards of 24, 44, 48, 80 and 141 GB."""


@pytest.mark.parametrize("model", FULL_MODELS, ids=lambda model: model.title)
def test_auto_takes_the_first_placement_that_fits_a_card(model: FullModel, tmp_path: Path) -> None:
    assert tuple(map(choice, plans(model, tmp_path / "model"))) == CHOICES[model.title]


def test_every_model_has_a_row() -> None:
    assert CHOICES.keys() == {model.title for model in FULL_MODELS}


def test_the_peak_is_that_of_the_largest_phase() -> None:
    def phases(offload: str) -> dict[str, int]:
        placement = choose_placement(offload, SIZES, ACTIVATIONS, capacity=0)
        assert placement.peak == max(placement.phases.values())
        return {name: size // GIB for name, size in placement.phases.items()}

    assert phases("none") == {"encode": 68, "condition": 69, "denoise": 79, "decode": 71}
    assert phases("text-encoder") == {"encode": 68, "condition": 58, "denoise": 68, "decode": 60}
    assert phases("model") == {"encode": 12, "condition": 3, "denoise": 40, "decode": 5}
    assert max(phases("group").values()) == 14


@pytest.mark.parametrize(
    ("capacity", "offload", "tiled"),
    [
        (85, "none", False),
        (84, "text-encoder", False),
        (73, "model", False),
        (41, "group", False),
        (18, "group", True),
        (8, "group", True),  # nothing fits
    ],
)
def test_decoding_in_one_piece_comes_before_staying_on_the_device(
    capacity: int, offload: str, tiled: bool
) -> None:
    placement = choose_placement("auto", SIZES, ACTIVATIONS, capacity=capacity * GIB)
    assert (placement.offload, placement.tiled) == (offload, tiled)


def test_tiles_are_planned_where_only_they_fit() -> None:
    large = Activations(encode=GIB, denoise=4 * GIB, decode=60 * GIB, decode_tiled=4 * GIB)
    placement = choose_placement("auto", SIZES, large, capacity=50 * GIB)
    assert (placement.offload, placement.tiled) == ("model", True)
    assert not choose_placement("auto", SIZES, large, capacity=50 * GIB, tiling="off").tiled
    assert choose_placement("auto", SIZES, large, capacity=500 * GIB, tiling="on").tiled


def test_a_requested_placement_is_taken_and_says_what_it_holds() -> None:
    whole = choose_placement("none", SIZES, ACTIVATIONS, capacity=8 * GIB, tiling="off")
    assert (whole.resident, whole.peak) == (67 * GIB, 83 * GIB)
    assert choose_placement("model", SIZES, ACTIVATIONS, capacity=140 * GIB).peak == 40 * GIB
    assert choose_placement("text-encoder", SIZES, ACTIVATIONS, capacity=140 * GIB).resident == 56 * GIB


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> "Card":
    """A card of 80 GiB, as `plan_placement` asks about it."""
    return Card(monkeypatch)


class Card:
    device = torch.device("cuda:0")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 79 * GIB
        monkeypatch.setattr(torch.cuda, "mem_get_info", self.mem_get_info)
        monkeypatch.setattr(placement_module, "free_bytes", self.free_bytes)
        monkeypatch.setattr(engine_module, "fetch", fetch_nothing)

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return self.free, 80 * GIB

    def free_bytes(self, device: torch.device) -> int:
        return self.free


def fetch_nothing(source: str, options: Options) -> Path:
    return Path(source)


def a14b(tmp_path: Path, **options: Any) -> DiffusersBackend:
    model = next(model for model in FULL_MODELS if model.title == "Wan2.2-T2V-A14B")
    return backend_for(replace(model, options=options), tmp_path / "model")


def test_a_card_that_others_hold_is_too_full_to_load(card: Card, tmp_path: Path) -> None:
    backend = a14b(tmp_path)
    memory = backend.model_memory(Path(backend.source), on_cuda=True)
    options = backend.parsed_options()
    assert plan_placement(options, memory, card.device).offload == "text-encoder"
    card.free = 60 * GIB
    with pytest.raises(OutOfMemory, match=r"needs 70\.9 GiB of the GPU; 60\.0 GiB of 80\.0 are free"):
        plan_placement(options, memory, card.device)


@pytest.mark.parametrize(("offload", "held"), [("auto", 53.7), ("none", 64.3), ("model", 0), ("group", 0)])
def test_what_the_weights_will_hold_is_what_counts_for_the_budget(
    card: Card, tmp_path: Path, offload: str, held: float
) -> None:
    needed = a14b(tmp_path, offload=offload).memory_needed("cuda:0")
    assert needed / GIB == pytest.approx(held, abs=0.06)


def test_a_hub_id_is_fetched_before_its_memory_is_needed(
    card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(a14b(tmp_path).source)

    def download(source: str, options: Options) -> Path:
        return folder

    monkeypatch.setattr(engine_module, "fetch", download)
    backend = AnyWanBackend("Wan-AI/Wan2.2-T2V-A14B-Diffusers")
    assert backend.memory_needed("cuda:0") > 50 * GIB


def test_headroom_takes_the_place_of_the_estimates(tmp_path: Path) -> None:
    plan = a14b(tmp_path, headroom=40 * GIB).plan_memory(usable_memory(80))
    assert (plan.offload, round(plan.phases["denoise"] / GIB, 1)) == ("model", 66.6)


def test_a_lora_beside_quantised_weights_counts(tmp_path: Path) -> None:
    weights, lora = tmp_path / "weights.gguf", tmp_path / "lora.safetensors"
    weights.write_bytes(bytes(5_000))
    lora.write_bytes(bytes(700))
    plain = a14b(tmp_path, weights={"transformer": str(weights)}, loras=[{"source": str(lora)}])
    assert plain.plan_memory(usable_memory(80)).weights["transformer"] == 5_700


DAMAGES: dict[str, tuple[str, bytes, str]] = {
    "configuration cut off": ("transformer/config.json", b"{broken", "transformer/config.json can't be read"),
    "configuration is a list": ("text_encoder/config.json", b"[1]", "text_encoder/config.json holds no JSON"),
    "index is a list": ("model_index.json", b"[]", "model_index.json of the model holds no JSON object"),
    "weights cut off": ("vae/diffusion_pytorch_model.safetensors", b"\x03\0", "can't be read"),
    "header is a list": ("vae/diffusion_pytorch_model.safetensors", b"\x03" + bytes(7) + b"[1]", "can't be"),
}


@pytest.mark.parametrize(("file", "content", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_files_are_said_to_be(
    tiny_model: TinyModel, tmp_path: Path, file: str, content: bytes, sentence: str
) -> None:
    folder = Path(shutil.copytree(tiny_model("wan21_t2v"), tmp_path / "model"))
    (folder / file).write_bytes(content)
    with pytest.raises(GenerationFailed, match=sentence):
        AnyWanBackend(str(folder)).load("cpu")


def test_what_a_configuration_leaves_out_is_the_default(tmp_path: Path) -> None:
    backend = a14b(tmp_path)
    stated = backend.plan_memory(usable_memory(80)).activations
    for component in ("transformer", "vae"):
        path = Path(backend.source) / component / "config.json"
        path.write_text(json.dumps({"_class_name": json.loads(path.read_text())["_class_name"]}))
    assert backend.plan_memory(usable_memory(80)).activations == stated


@pytest.mark.parametrize("name", ["WanTransformer3DModel", "UNet2DConditionModel", "Unheard", None, [1]])
def test_no_configuration_stops_a_plan(tmp_path: Path, name: object) -> None:
    backend = a14b(tmp_path)
    odd = {"_class_name": name, "ffn_dim": None, "num_attention_heads": [4], "block_out_channels": "many"}
    for component in ("transformer", "vae"):
        (Path(backend.source) / component / "config.json").write_text(json.dumps(odd))
    assert backend.plan_memory(usable_memory(80)).activations["denoise"] > 0


def test_what_is_not_there_whole_is_not_planned(tmp_path: Path) -> None:
    backend = a14b(tmp_path)
    folder = Path(backend.source)
    weights = folder / "transformer" / "model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(GenerationFailed, match=r"no weights in the safetensors format for .*'transformer'"):
        backend.plan_memory(usable_memory(80))
    weights.with_suffix(".bin").rename(weights)
    listing = folder / "transformer" / "model.safetensors.index.json"
    listing.write_text(
        json.dumps({"weight_map": {"a": weights.name, "b": "model-00002-of-00002.safetensors"}})
    )
    with pytest.raises(GenerationFailed, match=r"lacks 1 files of .*'transformer', such as model-00002"):
        backend.plan_memory(usable_memory(80))
    listing.unlink()
    shutil.rmtree(folder / "vae")
    with pytest.raises(GenerationFailed, match="no component 'vae'"):
        backend.plan_memory(usable_memory(80))
    (folder / "model_index.json").write_text("[]")
    assert [f"source: {folder / 'model_index.json'} can't be read"] == backend.check_files()


def test_a_broken_download_is_not_planned_and_not_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--authors--film" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    shutil.copy(Path(a14b(tmp_path).source) / "model_index.json", snapshot)
    with pytest.raises(GenerationFailed, match="has no component 'transformer'"):
        AnyWanBackend("authors/film").plan_memory(usable_memory(80))
    assert AnyWanBackend("authors/film").check_files() == []
    offline = AnyWanBackend("authors/film", {"offline": True}).check_files()
    assert any("has no component 'transformer'" in each for each in offline)


def test_shards_beside_a_whole_file_count_once(tmp_path: Path) -> None:
    backend = a14b(tmp_path)
    before = backend.plan_memory(usable_memory(80)).weights
    weights = Path(backend.source) / "transformer" / "model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model-00001-of-00001.safetensors"))
    assert backend.plan_memory(usable_memory(80)).weights == before


def test_the_upsampler_stays_on_the_device_however_the_rest_is_placed() -> None:
    sizes = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "vae": GIB}
    for offload in ("none", "text-encoder", "model", "group"):
        without = choose_placement(offload, sizes, ACTIVATIONS, capacity=0)
        placed = choose_placement(offload, {**sizes, "latent_upsampler": GIB}, ACTIVATIONS, capacity=0)
        assert placed.resident == without.resident + GIB
        assert placed.phases == {name: size + GIB for name, size in without.phases.items()}


@pytest.mark.parametrize(("cache", "tensors"), [("light", 1), ("first-block", 2), ("taylorseer", 4)])
def test_a_step_cache_counts(tmp_path: Path, cache: str, tensors: int) -> None:
    plain = a14b(tmp_path / "plain").plan_memory(usable_memory(80)).activations
    cached = a14b(tmp_path / "cached", cache=cache).plan_memory(usable_memory(80)).activations
    tokens, width, transformers, passes = 75_600, 5120, 2, 2
    kept = tensors * tokens * width * 2 * transformers * passes
    assert cached["denoise"] - plain["denoise"] == kept
    assert cached["decode"] == plain["decode"]
