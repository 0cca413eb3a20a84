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
    """Return the models that this plugin can run, as data.

    It is called again about every second while the server runs, so it must be quick. A plugin whose models
    are files may give another answer each time.

    Raises:
        ConfigError: The config is wrong.
    """


@hookspec
def framegate_dialects() -> Sequence[DialectSpec]:
    """Return the API dialects that this plugin offers, as data."""


@hookspec
def framegate_commands() -> Sequence[CommandSpec]:
    """Return the commands that this plugin adds to ``framegate``, as data."""


@hookspec
def framegate_config_checks() -> Sequence[str]:
    """Return the import strings of functions for ``framegate config check`` to call.

    Each is given the config's `framegate.cli.app_context.AppContext`, and raises `ConfigError` if something
    is wrong.
    """


@hookspec
def framegate_health(config: Mapping[str, Any], check_network: bool) -> Sequence[str]:
    """Return what currently keeps this plugin's models or dialects from working, one sentence per finding.

    With ``check_network``, also check what needs the network and may take some seconds. Workers repeat that
    check, and ``/status`` shows its findings.
    """
