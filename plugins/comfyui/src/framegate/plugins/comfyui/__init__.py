"""Runs ComfyUI workflows: one model per workflow file, on one or several ComfyUI servers."""

from collections.abc import Mapping
from typing import Any

from framegate.core.command import CommandSpec
from framegate.core.models import ModelSpec
from framegate.core.plugins import hookimpl


@hookimpl
def framegate_models(config: Mapping[str, Any]) -> list[ModelSpec]:
    from framegate.plugins.comfyui.catalogue import offered_models

    return offered_models(config)


@hookimpl
def framegate_health(config: Mapping[str, Any], reach: bool) -> list[str]:
    from framegate.plugins.comfyui.catalogue import found_problems

    return found_problems(config, reach=reach)


@hookimpl
def framegate_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "comfyui",
            "Check, list and describe ComfyUI workflows.",
            "framegate.plugins.comfyui.commands:comfyui",
        )
    ]
