"""The command line. A command's module is imported when it is called, so that ``--help`` stays instant."""

import importlib
import sys
from typing import Any

import click

from framegate.core.command import CommandSpec

_COMMANDS = {
    "serve": ("serve:serve", "Start the server, with its queue and a worker beside it."),
    "worker": ("worker:worker", "Run jobs from the queue on this host's device."),
    "generate": ("generate:generate", "Make one picture or video and save it."),
    "models": ("inspect:models", "List the model names that requests may use."),
    "plugins": ("inspect:plugins", "List the installed plugins, broken ones with their reason."),
    "dialects": ("inspect:dialects", "List the API dialects and where they are served."),
    "jobs": ("jobs:jobs", "List, show, watch and cancel jobs."),
    "characters": ("characters:characters", "List, show and delete characters."),
    "workers": ("inspect:workers", "List the living workers."),
    "init": ("config:init", "Write a commented framegate.toml."),
    "config": ("config:config", "Check the config."),
    "doctor": ("doctor:doctor", "Say what is installed, what works, and what to do about the rest."),
}


def discover_commands() -> "dict[str, tuple[CommandSpec, str]]":
    """The commands of plugins. What finds them is imported when it is needed."""
    from framegate.core import plugins

    return plugins.discover_commands()


class LazyGroup(click.Group):
    """Knows its commands by name and summary, and imports one when it is used. Plugins may add some."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *(name for name in discover_commands() if name not in _COMMANDS)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return _plugin_command(cmd_name)
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"{__name__}.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])
        added = [
            (name, spec.summary) for name, (spec, _) in discover_commands().items() if name not in _COMMANDS
        ]
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(added)


def _plugin_command(name: str) -> click.Command | None:
    """A plugin's command, each part of it with the options that say where the config is."""
    from framegate.core.plugins import load_object

    found = discover_commands().get(name)
    if found is None:
        return None
    from framegate.adapters.cli.options import with_plugin_config

    spec, plugin = found
    command: click.Command = load_object(spec.command)
    return with_plugin_config(command, plugin)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="framegate-core", prog_name="framegate")
def cli() -> None:
    """Framegate: a self-hosted server for image and video generation.

    Any of the documented APIs in front, any model behind.
    """


def main(arguments: list[str] | None = None) -> Any:
    """The entry point. Errors that people can do something about end with their message and status 1."""
    try:
        return cli.main(args=arguments, prog_name="framegate")
    except Exception as error:
        from framegate.core.errors import FramegateError

        if not isinstance(error, FramegateError):
            raise
        click.echo(f"Error: {error.message}", err=True)
        sys.exit(1)
