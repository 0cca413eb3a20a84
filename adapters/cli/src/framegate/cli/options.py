"""Options that several commands share, and how they become settings."""

import functools
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click
import structlog
from click.core import ParameterSource
from click.shell_completion import CompletionItem
from msgspec import Struct

from framegate.cli.app_context import AppContext, create_context
from framegate.cli.config_file import Config, read_config, require_valid
from framegate.cli.log import configure_audit_log, configure_logging
from framegate.core.command import PluginConfig
from framegate.core.errors import FramegateError

log = structlog.get_logger(__name__)
Command = TypeVar("Command", bound=Callable[..., Any])


def config_options(command: Command) -> Command:
    """Add ``--config`` and ``--data-dir``."""
    command = click.option(
        "--data-dir", type=click.Path(path_type=Path, readable=False), help="Where jobs and files are kept."
    )(command)
    return click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        help="The config file (default: $FRAMEGATE_CONFIG, then ./framegate.toml).",
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json``, which arrives as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def log_level_option(command: Command) -> Command:
    """Add ``--log-level``, which arrives as a level of `logging`."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        callback=_level,
    )(command)


def devices_option(command: Command) -> Command:
    """Add ``--devices``, which arrives as it was written, for `framegate.cli.devices.choose_devices`."""
    return click.option(
        "--devices",
        "--device",
        "devices",
        default="auto",
        show_default=True,
        help='Those to work on, such as "cpu" or "cuda:0,cuda:1"; by default every GPU, or the CPU.',
    )(command)


def _level(_context: click.Context, _option: click.Parameter, name: str) -> int:
    return logging.getLevelNamesMapping()[name.upper()]


def log_level_arguments(level: int) -> list[str]:
    """Return the command-line arguments with which a worker logs at the same level."""
    return ["--log-level", logging.getLevelName(level).lower()]


def config_from(
    config_file: Path | None, data_dir: Path | None, *, text: str | None = None, **overrides: Any
) -> Config:
    """Read the config, with those ``overrides`` ("server__port") that are not None.

    ``text`` is what `read_config` calls so.
    """
    values = {name.replace("__", "."): value for name, value in overrides.items() if value is not None}
    if data_dir is not None:
        values["server.data_dir"] = os.fspath(data_dir)
    return read_config(config_file, overrides=values, text=text)


def with_plugin_config(command: click.Command, plugin: str) -> click.Command:
    """Add ``--config`` to a plugin's command and its subcommands, and return it.

    The object that ``click.pass_obj`` passes to them is the plugin's own table of that config.
    """

    def read(context: click.Context, _option: click.Parameter, file: Path | None) -> None:
        if not logging.getLogger().handlers:
            configure_logging(level=logging.WARNING)
        context.obj = PluginConfig(
            require_valid(config_from(file, None)).settings.plugins.tables.get(plugin, {})
        )

    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_plugin_config(below, plugin)
    elif not any("--config" in option.opts for option in command.params):
        option = click.Option(
            ["--config", "config_file"],
            type=click.Path(path_type=Path),
            help="The config file (default: $FRAMEGATE_CONFIG, then ./framegate.toml).",
            expose_value=False,
            callback=read,
        )
        command.params.append(option)
    return command


def forwarded_options(config_file: Path | None, data_dir: Path | None) -> list[str]:
    """Return the command-line options with which a worker reads the same settings."""
    options = {"--config": config_file, "--data-dir": data_dir}
    return [part for name, value in options.items() if value for part in (name, os.fspath(value))]


def context_from(
    config_file: Path | None, data_dir: Path | None, *, text: str | None = None, **overrides: Any
) -> AppContext:
    """Read the settings, assemble the context, and send the audit log where the settings say.

    ``text`` is what `read_config` calls so.
    Logging is configured to show warnings only, unless the command has configured it already.
    """
    if not logging.getLogger().handlers:
        configure_logging(level=logging.WARNING)
    config = require_valid(config_from(config_file, data_dir, text=text, **overrides))
    configure_audit_log(config.settings.audit.path)
    with config.origins.locating():
        return create_context(config.settings, config.origins)


def checked_context_from(
    config_file: Path | None, data_dir: Path | None, *, as_server: bool, **overrides: Any
) -> AppContext:
    """Do what `context_from` does, after everything was checked that ``framegate config check`` checks.

    Without ``as_server``, that is only what concerns a worker. Warnings are logged.

    Raises:
        ConfigError: Something is wrong; `ConfigErrors` if several things are.
    """
    context = read_checked_context(config_file, data_dir, as_server=as_server, **overrides)
    configure_audit_log(context.settings.audit.path)
    return context


def read_checked_context(
    config_file: Path | None, data_dir: Path | None, *, as_server: bool, **overrides: Any
) -> AppContext:
    """Return the same context as `checked_context_from`, and change nothing in this process."""
    from framegate.cli.config_checks import check_config

    context, found = check_config(config_from(config_file, data_dir, **overrides), as_server=as_server)
    for warning in found.warnings:
        log.warning("config_warning", reason=warning.message)
    found.raise_errors()
    return context


class Target(Struct, frozen=True):
    """The server that a command works on: the one at ``url``, or without it that of this machine's config."""

    url: str
    key: str
    config_file: Path | None
    data_dir: Path | None


def server_options(command: Command) -> Command:
    """Add ``--url``, ``--key``, ``--config`` and ``--data-dir``, which arrive as ``target``."""

    @functools.wraps(command)
    def call(
        *arguments: Any, url: str, key: str, config_file: Path | None, data_dir: Path | None, **options: Any
    ) -> Any:
        target = Target(*_which_server(url, key, local=bool(config_file or data_dir)), config_file, data_dir)
        return command(*arguments, target=target, **options)

    added = cast(Command, call)
    for option in (
        click.option("--key", envvar="FRAMEGATE_KEY", default="", help="The key for that server."),
        click.option(
            "--url",
            envvar="FRAMEGATE_URL",
            default="",
            help="A server elsewhere, such as https://video.example.com.",
            show_envvar=True,
        ),
    ):
        added = option(added)
    return config_options(added)


def _which_server(url: str, key: str, *, local: bool) -> tuple[str, str]:
    """Return URL and key; what the command line says goes over variables."""
    source = click.get_current_context().get_parameter_source
    if url and local:
        if source("url") == ParameterSource.COMMANDLINE:
            raise click.UsageError("--url names another server: leave out --config and --data-dir.")
        url = ""
    if not url and key and source("key") == ParameterSource.COMMANDLINE:
        raise click.UsageError("--key is for a server elsewhere: give its --url.")
    return url, key if url else ""


def complete_file(_context: click.Context, _option: click.Parameter, begun: str) -> list[CompletionItem]:
    """Let the shell complete files, for options that take other things as well."""
    return [CompletionItem(begun, type="file")]


def complete_model(context: click.Context, _option: click.Parameter, begun: str) -> list[str]:
    """Return the local names that begin so; a server elsewhere isn't asked while somebody types."""
    if context.params.get("url"):
        return []
    try:
        names = context_from(context.params.get("config_file"), context.params.get("data_dir")).registry.names
    except FramegateError:
        return []
    return [name for name in names if name.startswith(begun)]
