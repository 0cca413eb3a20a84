"""The command line: a command's module is imported when it is called, so that ``--help`` stays fast."""

import importlib
import sys
from typing import Any

import click

from framegate.core.command import CommandSpec

_COMMANDS = {
    "generate": ("generate:generate", "Make one image or video and save it."),
    "models": ("inspect:models", "List the model names that requests may use."),
    "plugins": ("inspect:plugins", "List the installed plugins, with the reason for each broken one."),
    "dialects": ("inspect:dialects", "List the API dialects and where they are served."),
    "jobs": ("jobs:jobs", "List, show, watch and cancel jobs."),
    "characters": ("characters:characters", "List, show and delete characters."),
    "keys": ("keys:keys", "Create, list, rotate, expire and revoke API keys."),
    "workers": ("workers:workers", "List the workers that are alive; drain and resume them."),
    "pause": ("pause:pause", "Let no worker start jobs of a model."),
    "resume": ("pause:resume", "Let workers start jobs of a paused model again."),
    "usage": ("usage:usage", "Show what each key has used on each day."),
    "init": ("config:init", "Write a commented framegate.toml."),
    "config": ("config:config", "Check the config."),
    "doctor": ("doctor:doctor", "Report what is installed, what works, and how to fix the rest."),
}

_DISTRIBUTIONS = {"serve": "framegate-server", "worker": "framegate-worker"}


def discover_commands() -> "dict[str, tuple[CommandSpec, str]]":
    """Return the commands that plugins add, by name, each with its plugin's name."""
    from framegate.core import plugins

    return {name: found for name, found in plugins.discover_commands().items() if name not in _COMMANDS}


class LazyGroup(click.Group):
    """List commands by name and summary, and import one when it is called. Plugins may add more."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, the plugins' last."""
        return [*_COMMANDS, *discover_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name.

        Raises:
            ConfigError: It comes with a distribution of Framegate that is not installed.
        """
        if cmd_name not in _COMMANDS:
            return _plugin_command(cmd_name)
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"framegate.cli.commands.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, those of other people's plugins in a section of their own."""
        added = {name: spec.summary for name, (spec, _) in discover_commands().items()}
        own = {name: added.pop(name) for name in _DISTRIBUTIONS if name in added}
        own |= {name: summary for name, (_, summary) in _COMMANDS.items()}
        for title, commands in (("Commands", own), ("Commands of plugins", added)):
            if commands:
                with formatter.section(title):
                    formatter.write_dl(list(commands.items()))


def _plugin_command(name: str) -> click.Command | None:
    """Return a plugin's command, with the option ``--config`` added to it and its subcommands."""
    from framegate.core.plugins import load_object

    found = discover_commands().get(name)
    if found is None:
        if distribution := _DISTRIBUTIONS.get(name):
            from framegate.core.errors import ConfigError

            raise ConfigError(f"`framegate {name}` needs the package {distribution}, which is not installed.")
        return None
    from framegate.cli.options import with_plugin_config

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
    """Run the command line, and end the process.

    An error that its user can act on ends it with the error's message and status 1.
    """
    try:
        return cli.main(args=arguments, prog_name="framegate")
    except Exception as error:
        from framegate.core.errors import FramegateError

        if not isinstance(error, FramegateError):
            raise
        from framegate.cli.output import print_line

        print_line(f"Error: {error.message}", error=True, keep_lines=True)
        sys.exit(1)
