from pathlib import Path

import click

from framegate.adapters.cli.options import config_options, json_option, parts_from
from framegate.adapters.cli.output import print_json
from framegate.adapters.settings import DEFAULT_FILE
from framegate.core.errors import ConfigError

TEMPLATE = Path(__file__).with_name("framegate.toml")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE)
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(file: Path, force: bool) -> None:
    """Write a commented framegate.toml. Everything in it is optional."""
    if file.exists() and not force:
        raise ConfigError(f"{file} exists already; --force overwrites it.")
    file.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    click.echo(f"Wrote {file}. Check it after editing with `framegate config check`.")


@click.group()
def config() -> None:
    """Check the config."""


@config.command()
@json_option
@config_options
def check(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Read the config as the server would, and name file, line and key of what is wrong."""
    from framegate.adapters.http.app import select_dialects
    from framegate.adapters.http.auth import KeyRing

    parts = parts_from(config_file, data_dir)
    settings = parts.settings
    KeyRing(settings.auth.keys)
    enabled = select_dialects(parts.plugins.dialects, settings.dialects.enabled)
    broken = [status for status in parts.plugins.statuses if status.error]
    summary = {
        "dialects": list(enabled),
        "models": sorted(parts.registry.specs),
        "names": sorted(parts.registry.names),
        "keys": len(settings.auth.keys),
        "broken_plugins": {status.name: status.error for status in broken},
    }
    if as_json:
        print_json(summary)
        return
    click.echo(f"The config is right: dialects {', '.join(enabled)}; models {', '.join(sorted(parts.registry.specs))}.")
    for status in broken:
        click.echo(f"Note: the plugin {status.name} is broken: {status.error}", err=True)
