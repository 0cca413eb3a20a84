"""What the config says about styles, keys and plans reaches the service."""

from pathlib import Path

import pytest

from framegate.cli.app_context import create_context, open_services
from framegate.cli.config_file import load_settings
from framegate.core.errors import ConfigError


async def test_an_operators_own_style(tmp_path: Path) -> None:
    values = {"server.data_dir": str(tmp_path / "data"), "styles.anime": "in ink"}
    context = create_context(load_settings(environ={}, overrides=values))
    async with open_services(context) as services:
        assert services.core.jobs.styles["anime"].prompt == "in ink"


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"styles.noir": "in the rain"}, "styles: there is no style 'noir'"),
        (
            {"aliases.quick.model": "preview", "aliases.quick.defaults.style": "noir"},
            "quick: there is no style 'noir'",
        ),
    ],
)
def test_a_style_that_there_is_not(values: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        create_context(load_settings(environ={}, overrides=values))


def test_the_length_in_a_documented_name_is_its_limit() -> None:
    names = create_context(load_settings(environ={})).registry.names
    assert names["sora2-portrait-15s"].spec.max_duration == 15.0
    assert names["sora2pro-landscape-25s"].plan == "chatgpt_pro"
    assert names["sora-2"].spec.max_duration == names["preview"].spec.max_duration
