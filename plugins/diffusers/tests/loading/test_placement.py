"""Where weights are kept."""

from pathlib import Path

import pytest

from framegate.cli.model_memory import usable_memory
from framegate.plugins.diffusers.planning.activations import Activations
from framegate.plugins.diffusers.planning.placement import GIB, choose_placement
from tests.support.full_models import FULL_MODELS, FullModel, backend_for

SIZES = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "transformer_2": 27 * GIB, "vae": GIB}
ACTIVATIONS = Activations(
    encode=GIB, condition=2 * GIB, denoise=12 * GIB, decode=16 * GIB, decode_tiled=4 * GIB
)

CARDS = (24, 44, 48, 80, 141)
CHOICES = {
    "Wan2.1-T2V-1.3B": ("text-encoder", "none", "none", "none", "none"),
    "Wan2.1-T2V-14B": ("group", "model", "text-encoder", "none", "none"),
    "Wan2.1-I2V-14B-480P": ("group", "model", "text-encoder", "none", "none"),
    "Wan2.1-I2V-14B-720P": ("group", "group", "model", "none", "none"),
    "Wan2.2-TI2V-5B": ("model", "none", "none", "none", "none"),
    "Wan2.2-T2V-A14B": ("group", "model", "model", "text-encoder", "none"),
    "Wan2.2-I2V-A14B": ("group", "model", "model", "text-encoder", "none"),
    "LTX-2": ("group", "model", "model", "none", "none"),
    "LTX-2, two stages, distilled weights": (
        "group, tiles",
        "group, tiles",
        "model, tiles",
        "model",
        "none",
    ),
    "LTX-2, two stages, full weights": ("group, tiles", "group, tiles", "group, tiles", "model", "none"),
    "LTX-2.3": ("group", "model", "model", "none", "none"),
    "FLUX.1-dev": ("group", "none", "none", "none", "none"),
    "Qwen-Image": ("group", "model", "model", "none", "none"),
    "Stable Diffusion XL": ("none", "none", "none", "none", "none"),
}
"""What "auto" takes on ``CARDS`` of that many GB."""


@pytest.mark.parametrize("model", FULL_MODELS, ids=lambda model: model.title)
def test_auto_takes_the_first_placement_that_fits_a_card(model: FullModel, tmp_path: Path) -> None:
    backend = backend_for(model, tmp_path / "model")
    plans = [backend.plan_memory(usable_memory(gigabytes)) for gigabytes in CARDS]
    assert all(plan.fits for plan in plans)
    chosen = (plan.offload + (", tiles" if plan.note else "") for plan in plans)
    assert tuple(chosen) == CHOICES[model.title]


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
        (20, "group", True),
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
