"""Add the command ``framegate worker``."""

from collections.abc import Sequence

from framegate.core.command import CommandSpec
from framegate.core.plugins import hookimpl


@hookimpl
def framegate_commands() -> Sequence[CommandSpec]:
    """Return the command ``framegate worker``."""
    return [
        CommandSpec(
            name="worker",
            summary="Run jobs from the queue on this host's devices.",
            command="framegate.worker.command:worker",
        )
    ]
