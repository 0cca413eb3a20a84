"""``framegate comfyui``."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from framegate.core.command import PluginConfig
from framegate.core.errors import ConfigError
from framegate.plugins.comfyui.catalogue import found_faults, library_of
from framegate.plugins.comfyui.config import read_config
from framegate.plugins.comfyui.workflows.compatibility import check_servers
from framegate.plugins.comfyui.workflows.library import Entry, Library

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def comfyui() -> None:
    """Check, list and describe ComfyUI workflows."""


@comfyui.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_json
@click.pass_obj
def check(plugin: PluginConfig, files: tuple[Path, ...], as_json: bool) -> None:
    """Check FILES, or else all workflows that are served: their titles, and their nodes against the servers.

    Fails if something is wrong.
    """
    config = read_config(plugin.table)
    library = Library(*files) if files else library_of(config)
    faults = library.faults() if files else found_faults(config)
    problems = faults + asyncio.run(check_servers(config, library))
    if as_json:
        _print_json({"workflows": sorted(library.entries()), "problems": problems})
    else:
        for problem in problems:
            click.echo(problem)
        if not config.servers:
            click.echo("Only the files were checked: [[plugins.comfyui.servers]] names no server.", err=True)
        if not problems:
            click.echo(f"All is well with {', '.join(sorted(library.entries())) or 'no workflow'}.")
    if problems:
        raise SystemExit(1)


@comfyui.command("list")
@_json
@click.pass_obj
def list_workflows(plugin: PluginConfig, as_json: bool) -> None:
    """List the workflows and what each makes."""
    entries = library_of(read_config(plugin.table)).entries()
    if as_json:
        _print_json([_described(name, entry) for name, entry in entries.items()])
        return
    width = max((len(name) for name in entries), default=0)
    for name, entry in entries.items():
        keys = dict.fromkeys(each.key.value for each in entry.workflow.parameters if each.key)
        click.echo(f"{name:{width}}  {', '.join(sorted(entry.spec.tasks))}  ({', '.join(keys)})")


@comfyui.command("describe")
@click.argument("name")
@_json
@click.pass_obj
def describe(plugin: PluginConfig, name: str, as_json: bool) -> None:
    """Show what the workflow NAME takes, where it puts it, and what it makes."""
    entries = library_of(read_config(plugin.table)).entries()
    if name not in entries:
        raise ConfigError(f"There is no workflow {name!r}; there are {', '.join(entries) or 'none'}.")
    entry = entries[name]
    if as_json:
        _print_json(_described(name, entry))
        return
    graph, spec = entry.workflow.graph, entry.spec
    click.echo(
        f"{name}: {', '.join(sorted(spec.tasks))}; the result is of {graph[entry.workflow.output].label}"
    )
    defaults = spec.defaults
    size = f"{defaults.width}×{defaults.height}" if defaults.width else "as the input's"
    click.echo(
        f"size {size} ({spec.sizes}), frames {defaults.num_frames or 'as the graph makes'} ({spec.frames})"
    )
    for each in entry.workflow.parameters:
        source = each.key.value if each.key else "no request can set it"
        shown = f" = {each.default!r}" if each.default not in ("", None) else ""
        about = f"  {each.description}" if each.description else ""
        click.echo(f"  ${each.name} ({source}) → {graph[each.node].label}, {each.input}{shown[:80]}{about}")


def _described(name: str, entry: Entry) -> dict[str, Any]:
    spec = entry.spec
    return {
        "name": name,
        "tasks": sorted(spec.tasks),
        "output": {"node": entry.workflow.output, "kind": entry.workflow.kind},
        "sizes": spec.sizes,
        "frames": spec.frames,
        "fps": spec.fps,
        "defaults": spec.defaults,
        "parameters": entry.workflow.parameters,
    }


def _print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
