"""Scenes: what a prompt turns into."""

import pytest

from framegate.plugins.preview.scenes import PLACES, choose_place


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        ("a sailing boat at sunset", "sea"),
        ("ducks on a pond", "lake"),
        ("Tokyo street, neon", "city"),
        ("a fox in the forest", "forest"),
        ("an eagle over the mountains", "mountains"),
        ("a rocket on its way to mars", "space"),
        ("falling snowflakes", "snow"),
        ("camels in the Sahara", "desert"),
        ("一只猫在海边", "sea"),
        ("城市的灯光", "city"),
    ],
)
def test_the_first_place_that_a_prompt_names_is_drawn(prompt: str, place: str) -> None:
    assert choose_place(prompt, seed=1) == place


def test_prompts_without_a_place_get_some_scene() -> None:
    drawn = {choose_place("jazz", seed) for seed in range(40)}
    assert drawn <= PLACES.keys()
    assert len(drawn) > 3
