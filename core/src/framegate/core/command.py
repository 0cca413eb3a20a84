"""How a plugin names its commands."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class CommandSpec(Struct, frozen=True):
    """A command ``framegate NAME``, as data. ``command`` is the import string ``module:object`` of a click
    command or group; `PluginConfig` is the object that ``click.pass_obj`` hands to it."""

    name: str
    summary: str
    command: str


class PluginConfig(Struct, frozen=True):
    """``table`` is the plugin's own table of the config, ``[plugins.NAME]``."""

    table: Mapping[str, Any]
