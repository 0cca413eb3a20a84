"""The command ``framegate comfyui``."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from framegate.core.command import PluginConfig
from framegate.core.errors import ConfigError
from framegate.core.printable import printable, printable_json
from framegate.plugins.comfyui.catalogue import find_file_findings, get_library
from framegate.plugins.comfyui.config import read_config
from framegate.plugins.comfyui.servers.health import check_servers
from framegate.plugins.comfyui.workflows.library import WorkflowLibrary, WorkflowModel

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def comfyui() -> None:
    """Check, list and describe ComfyUI workflows."""


@comfyui.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_json_option
@click.pass_obj
def check(plugin: PluginConfig, files: tuple[Path, ...], as_json: bool) -> None:
    """Check FILES, or all served workflows: their titles, and their nodes against the servers.

    Exits with status 1 if something is wrong.
    """
    config = read_config(plugin.table)
    library = WorkflowLibrary(*files) if files else get_library(config)
    file_findings = library.errors() if files else find_file_findings(config)
    findings = file_findings + asyncio.run(check_servers(config, library))
    if as_json:
        _print_json({"workflows": sorted(library.models()), "problems": findings})
    else:
        for finding in findings:
            _print_line(finding)
        if not config.servers:
            click.echo("Only the files were checked: [[plugins.comfyui.servers]] names no server.", err=True)
        if not findings:
            _print_line(f"No problems found in {', '.join(sorted(library.models())) or 'no workflow'}.")
    if findings:
        raise SystemExit(1)


@comfyui.command("list")
@_json_option
@click.pass_obj
def list_workflows(plugin: PluginConfig, as_json: bool) -> None:
    """List the workflows and what each makes."""
    models = get_library(read_config(plugin.table)).models()
    if as_json:
        _print_json([_describe(name, model) for name, model in models.items()])
        return
    width = max((len(name) for name in models), default=0)
    for name, model in models.items():
        keys = dict.fromkeys(each.key.value for each in model.workflow.parameters if each.key)
        _print_line(f"{name:{width}}  {', '.join(sorted(model.spec.tasks))}  ({', '.join(keys)})")


@comfyui.command("describe")
@click.argument("name")
@_json_option
@click.pass_obj
def describe(plugin: PluginConfig, name: str, as_json: bool) -> None:
    """Show what the workflow NAME takes, where it puts it, and what it makes."""
    models = get_library(read_config(plugin.table)).models()
    if name not in models:
        raise ConfigError(f"Unknown workflow {name!r}; available: {', '.join(models) or 'none'}.")
    model = models[name]
    if as_json:
        _print_json(_describe(name, model))
        return
    workflow, spec = model.workflow, model.spec
    output = workflow.graph[workflow.output].label
    _print_line(f"{name}: {', '.join(sorted(spec.tasks))}; the result comes from {output}")
    defaults = spec.defaults
    size = f"{defaults.width}×{defaults.height}" if defaults.width else "that of the input"
    frames = defaults.num_frames or "as many as the graph makes"
    _print_line(f"size: {size} ({spec.sizes}); frames: {frames} ({spec.frames})")
    for each in workflow.parameters:
        source = each.key.value if each.key else "no request can set it"
        default = f" = {each.default!r}" if each.default not in ("", None) else ""
        description = f"  {each.description}" if each.description else ""
        node = workflow.graph[each.node].label
        _print_line(f"  ${each.name} ({source}) → {node}, {each.input}{default[:80]}{description}")


def _describe(name: str, model: WorkflowModel) -> dict[str, Any]:
    spec = model.spec
    return {
        "name": name,
        "tasks": sorted(spec.tasks),
        "output": {"node": model.workflow.output, "kind": model.workflow.kind},
        "sizes": spec.sizes,
        "frames": spec.frames,
        "fps": spec.fps,
        "defaults": spec.defaults,
        "parameters": model.workflow.parameters,
    }


def _print_line(text: str) -> None:
    click.echo(printable(text))


def _print_json(value: Any) -> None:
    click.echo(printable_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))
