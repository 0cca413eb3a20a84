"""The command line: a command's module is imported when it is called, so that ``--help`` stays fast."""

import importlib
import io
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import click

from framegate.core.command import CommandSpec

_COMMANDS = {
    "generate": ("generate:generate", "Make one image or video and save it."),
    "models": ("models:models", "List the served models and their names; load and unload them."),
    "plugins": ("inspect:plugins", "List the installed plugins, with the reason for each broken one."),
    "dialects": ("inspect:dialects", "List the API dialects and where they are served."),
    "jobs": ("jobs:jobs", "List, show, watch, cancel, retry and delete jobs."),
    "characters": ("characters:characters", "List, show and delete characters."),
    "keys": ("keys:keys", "Create, list, rotate, expire and revoke API keys."),
    "workers": ("workers:workers", "List the workers that are alive; drain and resume them."),
    "pause": ("pause:pause", "Let no worker start jobs of a model."),
    "resume": ("pause:resume", "Let workers start jobs of a paused model again."),
    "usage": ("usage:usage", "Show what each key has used on each day."),
    "init": ("config:init", "Write a commented framegate.toml."),
    "config": ("config:config", "Check the config."),
    "completion": ("completion:completion", "Print a script that completes commands in a shell."),
    "doctor": ("doctor:doctor", "Report what is installed, what works, and how to fix the rest."),
}

_INTERRUPTED = 130
"""What shells report for a program that Ctrl-C has ended."""

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
    from framegate.core.errors import PluginError
    from framegate.core.plugins import load_object

    found = discover_commands().get(name)
    if found is None:
        if distribution := _DISTRIBUTIONS.get(name):
            from framegate.core.errors import ConfigError

            raise ConfigError(f"`framegate {name}` needs the package {distribution}, which is not installed.")
        return None
    from framegate.cli.options import with_plugin_config

    spec, plugin = found
    command = load_object(spec.command)
    if not isinstance(command, click.Command):
        raise PluginError(f"{spec.command} of the plugin {plugin} is not a click command.")
    return with_plugin_config(command, plugin)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="framegate-core", prog_name="framegate")
def cli() -> None:
    """Framegate: a self-hosted server for image and video generation.

    Any of the documented APIs in front, any model behind.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line, and end the process.

    The exit status is 0, or 1 after an error, 2 where the arguments are wrong, and 130 after Ctrl-C. An error
    is one line on standard error; the variable ``FRAMEGATE_TRACEBACK`` adds where in the code it arose.
    """
    _open_standard_streams()
    try:
        status = _run(arguments)
        _flush()
    except BrokenPipeError:
        _discard_output()  # whoever reads has seen enough
        status = 1
    except Exception as error:
        status = _report(error)
    sys.exit(status)


def _run(arguments: list[str] | None) -> int:
    """Run the command line, and return the exit status; errors of arguments are click's."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may lack letters of a prompt
    try:
        status = cli.main(args=arguments, prog_name="framegate", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except KeyboardInterrupt:
        return _INTERRUPTED
    except SystemExit as ended:  # a command that has said what is wrong
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return status if isinstance(status, int) else 0


def _open_standard_streams() -> None:
    """Open those that the caller has closed: or the first files would get their numbers, and their output."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:  # loggers expect one
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  # for as long as it runs


def _flush() -> None:
    """Write what is left: here an error of it can still be reported."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


def _discard_output() -> None:
    """Send what is still to be written to nowhere, or Python would report it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())


def _report(error: Exception) -> int:
    """Print the sentence about an error, and return the exit status."""
    from framegate.cli.output import print_line
    from framegate.core.errors import ConfigError, FramegateError

    if os.environ.get("FRAMEGATE_TRACEBACK"):
        text = "".join(traceback.format_exception(error)).rstrip()
    elif isinstance(error, ConfigError):
        text = "\n".join(f"Error: {each.message}" for each in error.errors)
    elif isinstance(error, FramegateError):
        text = f"Error: {error.message}"
    elif isinstance(error, OSError) and error.strerror:
        text = f"Error: {f'{error.filename}: ' if error.filename else ''}{error.strerror}."
    elif isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        text = f"Error: {error.object[:200]!r} is not valid UTF-8 text."  # bytes of an argument
    else:
        text = (
            f"Internal error: {type(error).__name__}: {error}. Please report it with what the command prints "
            "if the variable FRAMEGATE_TRACEBACK is 1."
        )
    with suppress(OSError, ValueError):  # standard error can't be written either
        print_line(text, error=True, keep_lines=True)
        _flush()
    _discard_output()
    return 1
