# A hook specification has a return type and no body.
# pyright: reportReturnType=false
"""The hooks that a plugin may implement. Mark implementations with ``framegate.core.plugins.hookimpl``."""

from collections.abc import Sequence

import pluggy

from framegate.core.dialect import DialectSpec
from framegate.core.models import ModelSpec

hookspec = pluggy.HookspecMarker("framegate")


@hookspec
def framegate_models() -> Sequence[ModelSpec]:
    """The models that this plugin can run, as data."""


@hookspec
def framegate_dialects() -> Sequence[DialectSpec]:
    """The API dialects that this plugin can speak, as data."""
