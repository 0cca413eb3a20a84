"""What the plugin offers, from its config and its files."""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framegate.core.models import ModelSpec
from framegate.plugins.comfyui.config import WHERE, ComfyConfig, read_config
from framegate.plugins.comfyui.workflows.library import SHIPPED, Library


def offered_models(table: Mapping[str, Any]) -> list[ModelSpec]:
    """A model for each workflow file; none while no server is configured.

    Raises:
        ConfigError: the table is wrong.
    """
    config = read_config(table)
    if not config.servers:
        return []
    options = config.as_options()
    return [replace(entry.spec, options=options) for entry in library_of(config).entries().values()]


def found_problems(table: Mapping[str, Any], *, reach: bool) -> list[str]:
    """Broken files; with ``reach`` also servers that don't answer, and files that don't fit those that do."""
    config = read_config(table)
    if not config.servers:
        return []
    problems = found_faults(config)
    if reach:
        from framegate.plugins.comfyui.workflows.compatibility import check_servers

        # Not every ComfyUI has the models of the workflows that are shipped, and need not.
        own = _library(config.folder) if config.folder else _library()
        problems += asyncio.run(check_servers(config, own))
    return problems


def found_faults(config: ComfyConfig) -> list[str]:
    """What is wrong with the workflow files."""
    folder = config.folder
    missing = [] if folder is None or folder.is_dir() else [f"{WHERE}.workflows: there is no such folder."]
    return missing + library_of(config).faults()


def library_of(config: ComfyConfig) -> Library:
    """The shipped workflows, and the operator's over them."""
    return _library(SHIPPED, config.folder) if config.folder else _library(SHIPPED)


@lru_cache(maxsize=8)
def _library(*folders: Path) -> Library:
    """One for all who ask, so that a file is read once."""
    return Library(*folders)
