"""``framegate init`` and ``framegate config``."""

from pathlib import Path

import click

from framegate.cli.config_file import DEFAULT_FILE
from framegate.cli.options import config_options, context_from, json_option
from framegate.cli.output import print_json, print_line
from framegate.core.errors import ConfigError
from framegate.core.plugins import load_object

TEMPLATE = Path(__file__).with_name("framegate.toml")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_FILE)
@click.option("--force", is_flag=True, help="Overwrite the file.")
def init(file: Path, force: bool) -> None:
    """Write a commented framegate.toml. Everything in it is optional."""
    if file.exists() and not force:
        raise ConfigError(f"{file} already exists; --force overwrites it.")
    file.touch(mode=0o600)  # URLs in it may hold passwords
    file.write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
    print_line(f"Wrote {file}. Check it after editing with `framegate config check`.")


@click.group()
def config() -> None:
    """Check the config."""


@config.command()
@json_option
@config_options
def check(as_json: bool, config_file: Path | None, data_dir: Path | None) -> None:
    """Read the config as the server does, and name file, line and key of an error."""
    context = context_from(config_file, data_dir)
    dialects = context.plugins.dialects
    for import_string in context.plugins.config_checks():
        load_object(import_string)(context)
    enabled = context.settings.dialects.enabled
    models = sorted(context.registry.specs)
    broken = {status.name: status.error for status in context.plugins.statuses if status.error}
    if as_json:
        print_json(
            {
                "dialects": list(dialects if enabled is None else enabled),
                "models": models,
                "names": sorted(context.registry.names),
                "keys": [key.name for key in context.settings.auth.keys],
                "broken_plugins": broken,
            }
        )
        return
    print_line(f"The config is valid: dialects {', '.join(enabled or dialects)}; models {', '.join(models)}.")
    for name, error in broken.items():
        print_line(f"Note: the plugin {name} is broken: {error}", error=True)
