"""``framegate init`` and ``framegate config``."""

import logging
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import Struct

from framegate.cli.config_checks import check_config
from framegate.cli.config_file import DEFAULT_FILE
from framegate.cli.log import configure_logging
from framegate.cli.options import config_from, config_options, json_option
from framegate.cli.output import print_json, print_line
from framegate.core.errors import ConfigError, dotted

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
    """List everything that is wrong in the config, with file, line and key. Fails if something is.

    Whatever `framegate serve` and `framegate worker` would refuse is found, without starting anything. The
    files that a model needs on a GPU host are what `framegate doctor` checks there.
    """
    if not logging.getLogger().handlers:
        configure_logging(level=logging.WARNING)
    try:
        config = config_from(config_file, data_dir)
    except ConfigError as error:  # there is nothing to look into
        _report(error.errors, (), as_json=as_json)
        raise SystemExit(1) from None
    context, found = check_config(config, as_server=True)
    if found.errors:
        _report(found.errors, found.warnings, as_json=as_json)
        raise SystemExit(1)
    enabled, models = context.settings.dialects.enabled, sorted(context.registry.specs)
    dialects = list(context.plugins.dialects if enabled is None else enabled)
    broken = {status.name: status.error for status in context.plugins.statuses if status.error}
    if as_json:
        print_json(
            {
                "dialects": dialects,
                "models": models,
                "names": sorted(context.registry.names),
                "keys": [key.name for key in context.settings.auth.keys],
                "broken_plugins": broken,
                "errors": [],
                "warnings": [_as_entry(warning) for warning in found.warnings],
            }
        )
        return
    print_line(f"The config is valid: dialects {', '.join(dialects)}; models {', '.join(models)}.")
    for warning in found.warnings:
        print_line(f"Warning: {warning.message}", error=True)
    for name, reason in broken.items():
        print_line(f"Note: the plugin {name} is broken: {reason}", error=True)


class _Entry(Struct, frozen=True):
    """One error or warning, as ``--json`` has it."""

    where: str
    key: str
    message: str


def _as_entry(error: ConfigError) -> _Entry:
    return _Entry(error.where, dotted(error.key), error.reason)


def _report(errors: Sequence[ConfigError], warnings: Sequence[ConfigError], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "errors": [_as_entry(error) for error in errors],
                "warnings": [_as_entry(warning) for warning in warnings],
            }
        )
        return
    for wrong in errors:
        print_line(f"Error: {wrong.message}", error=True)
    for warning in warnings:
        print_line(f"Warning: {warning.message}", error=True)
    print_line(f"{len(errors)} error{'s' if len(errors) > 1 else ''} in the config.", error=True)
