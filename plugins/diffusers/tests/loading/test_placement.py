"""Where weights are kept."""

import pytest

from framegate.plugins.diffusers.loading.placement import GIB, choose_placement

SIZES = {"text_encoder": 11 * GIB, "transformer": 28 * GIB, "vae": GIB}


@pytest.mark.parametrize(
    ("capacity", "offload"), [(140, "none"), (80, "none"), (48, "model"), (24, "group"), (8, "group")]
)
def test_the_first_placement_that_fits_is_chosen(capacity: int, offload: str) -> None:
    assert choose_placement("auto", SIZES, capacity=capacity * GIB, headroom=12 * GIB).offload == offload


def test_a_requested_placement_is_taken_and_says_what_it_holds() -> None:
    resident = choose_placement("none", SIZES, capacity=8 * GIB, headroom=12 * GIB)
    assert (resident.resident, resident.peak) == (40 * GIB, 52 * GIB)
    assert choose_placement("model", SIZES, capacity=140 * GIB, headroom=GIB).peak == 29 * GIB
