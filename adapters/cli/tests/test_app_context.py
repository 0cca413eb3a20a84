"""What the config says about styles reaches the service."""

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
        ({"styles.noir": "in the rain"}, "styles: unknown style 'noir'"),
        (
            {"aliases.quick.model": "preview", "aliases.quick.defaults.style": "noir"},
            "quick: unknown style 'noir'",
        ),
    ],
)
def test_a_style_that_there_is_not(values: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError, match=where):
        create_context(load_settings(environ={}, overrides=values))
