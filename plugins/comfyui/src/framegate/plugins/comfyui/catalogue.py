"""The models that the plugin offers, from its config and its workflow files."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framegate.core.models import ModelSpec
from framegate.plugins.comfyui.config import TABLE, ComfyConfig, read_config
from framegate.plugins.comfyui.workflows.library import SHIPPED_FOLDER, WorkflowLibrary


def list_models(table: Mapping[str, Any]) -> list[ModelSpec]:
    """Return a model for each workflow file, or none while no server is configured.

    Raises:
        ConfigError: The table is wrong.
    """
    config = read_config(table)
    if not config.servers:
        return []
    options = config.as_options()
    return [replace(model.spec, options=options) for model in get_library(config).models().values()]


def find_health_findings(table: Mapping[str, Any], *, check_network: bool) -> list[str]:
    """Return a sentence for each broken file.

    With ``check_network``, also find servers that don't respond, and files that don't fit those that do.

    Raises:
        ConfigError: The table is wrong.
    """
    config = read_config(table)
    if not config.servers:
        return []
    findings = find_file_findings(config)
    if check_network:
        from framegate.plugins.comfyui.servers.health import check_servers

        # Not every ComfyUI has the models of the shipped workflows, and it need not have them.
        own_library = _load_library(config.folder) if config.folder else _load_library()
        findings += asyncio.run(check_servers(config, own_library))
    return findings


def find_file_findings(config: ComfyConfig) -> list[str]:
    """Return a sentence for each workflow file that is broken, and for a missing folder."""
    folder = config.folder
    missing = [] if folder is None or folder.is_dir() else [f"{TABLE}.workflows: the folder does not exist."]
    return missing + get_library(config).errors()


def get_library(config: ComfyConfig) -> WorkflowLibrary:
    """Return the shipped workflows, overridden by the operator's own."""
    return _load_library(SHIPPED_FOLDER, config.folder) if config.folder else _load_library(SHIPPED_FOLDER)


@lru_cache(maxsize=8)
def _load_library(*folders: Path) -> WorkflowLibrary:
    """Share one library among all callers, so that each file is read once."""
    return WorkflowLibrary(*folders)
