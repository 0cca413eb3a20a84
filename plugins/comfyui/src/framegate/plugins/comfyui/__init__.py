"""Run ComfyUI workflows: one model per workflow file, on one or several ComfyUI servers."""

from collections.abc import Mapping
from typing import Any

from framegate.core.command import CommandSpec
from framegate.core.models import ModelSpec
from framegate.core.plugins import hookimpl


@hookimpl
def framegate_models(config: Mapping[str, Any]) -> list[ModelSpec]:
    """Offer a model for each workflow file."""
    from framegate.plugins.comfyui.catalogue import list_models

    return list_models(config)


@hookimpl
def framegate_health(config: Mapping[str, Any], check_network: bool) -> list[str]:
    """Find broken workflow files and, with ``check_network``, servers that are down or lack something."""
    from framegate.plugins.comfyui.catalogue import find_health_findings

    return find_health_findings(config, check_network=check_network)


@hookimpl
def framegate_commands() -> list[CommandSpec]:
    """Add ``framegate comfyui``."""
    return [
        CommandSpec(
            "comfyui",
            "Check, list and describe ComfyUI workflows.",
            "framegate.plugins.comfyui.commands:comfyui",
        )
    ]
