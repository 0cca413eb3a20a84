"""How a plugin introduces its commands."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class CommandSpec(Struct, frozen=True):
    """A command ``framegate NAME``, as data.

    ``command`` is the import string ``module:object`` of a click command or group. ``click.pass_obj`` gives
    it a `PluginConfig`.
    """

    name: str
    summary: str
    command: str


class PluginConfig(Struct, frozen=True):
    """The plugin's own table of the config, ``[plugins.NAME]``."""

    table: Mapping[str, Any]
