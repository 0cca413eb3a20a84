# A hook specification has a return type and no body.
# pyright: reportReturnType=false
"""The hooks that a plugin may implement. Mark implementations with ``framegate.core.plugins.hookimpl``.

An implementation names the arguments that it needs and leaves out the others. ``config`` is the plugin's own
table of the config, ``[plugins.NAME]``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from framegate.core.command import CommandSpec
from framegate.core.dialect import DialectSpec
from framegate.core.models import ModelSpec

hookspec = pluggy.HookspecMarker("framegate")


@hookspec
def framegate_models(config: Mapping[str, Any]) -> Sequence[ModelSpec]:
    """The models that this plugin can run, as data. Asked again every second or so while the server runs: a
    plugin whose models lie in files may answer differently each time, and has to be quick.

    Raises:
        ConfigError: the config is wrong.
    """


@hookspec
def framegate_dialects() -> Sequence[DialectSpec]:
    """The API dialects that this plugin can speak, as data."""


@hookspec
def framegate_commands() -> Sequence[CommandSpec]:
    """The commands that this plugin adds to ``framegate``, as data."""


@hookspec
def framegate_config_checks() -> Sequence[str]:
    """Import strings of functions that ``framegate config check`` calls, each with the config's
    `framegate.cli.app_context.AppContext`. A function raises `ConfigError` for what is wrong."""


@hookspec
def framegate_health(config: Mapping[str, Any], reach: bool) -> Sequence[str]:
    """What is wrong now with what this plugin offers, a sentence each. With ``reach`` also what takes the
    network and up to some seconds to find out; workers then ask again and again, and ``/ready`` tells."""
