"""What is sent to a server: a workflow's graph with a shot in it."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from framegate.core.backend import GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot
from framegate.plugins.comfyui.execution.pruning import pruned
from framegate.plugins.comfyui.execution.values import bind_values, content_name, media_files, shot_values
from framegate.plugins.comfyui.servers.client import ComfyClient, UnexpectedAnswer
from framegate.plugins.comfyui.workflows.bindings import find_parameters
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.graph import Graph
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.vocabulary import Key
from framegate.plugins.comfyui.workflows.workflow import Workflow, as_prompt

SUBFOLDER = "framegate"
"""Where our files are, among ComfyUI's inputs and outputs."""


async def build_prompt(
    client: ComfyClient, workflow: Workflow, shot: Shot, context: GenerationContext, *, prefix: str
) -> dict[str, Any]:
    """The graph for ``POST /prompt``; input files are uploaded. Its files get names that begin with
    ``prefix``: with a name of its own for each run, no graph is answered from the cache alone.

    Raises:
        GenerationFailed: the workflow or a value does not fit the server, or an input is missing.
    """
    files = media_files(workflow, context)
    graph = await _graph_without(client, workflow, {key for key, path in files.items() if path is None})
    bound = {parameter.node for parameter in workflow.parameters} & graph.keys()
    schema = await _schema(client, {graph[node].class_type for node in bound})
    try:
        parameters = find_parameters(graph, schema)
    except WorkflowFault as fault:
        raise GenerationFailed(
            f"The workflow {workflow.name} does not fit this ComfyUI: {fault.reason}."
        ) from fault
    values: dict[Key, Any] = shot_values(shot)
    for key, path in files.items():
        if path is not None:
            values[key] = await _upload(client, path)
    changes = bind_values(parameters, values, schema, graph)
    for node in graph.values():
        if isinstance(node.inputs.get("filename_prefix"), str):
            changes[node.id, "filename_prefix"] = prefix
    return as_prompt(graph, changes)


async def _graph_without(client: ComfyClient, workflow: Workflow, missing: Collection[Key]) -> Graph:
    """The workflow's graph without the loaders of what was not given."""
    loaders = {parameter.node for parameter in workflow.parameters if parameter.key in missing}
    if not loaders:
        return workflow.graph
    graph = pruned(workflow.graph, loaders, await _schema(client, workflow.classes))
    if workflow.output not in graph:
        named = " and an ".join(sorted(key.replace("_", " ") for key in missing))
        raise GenerationFailed(f"The workflow {workflow.name} needs an input {named}; none was given.")
    return graph


async def _schema(client: ComfyClient, classes: Collection[str]) -> Mapping[str, NodeSchema]:
    found = await asyncio.gather(*(client.schema(name) for name in sorted(classes)))
    return {name: node for answer in found for name, node in answer.items()}


async def _upload(client: ComfyClient, path: Path) -> str:
    try:
        return await client.upload(path, await asyncio.to_thread(content_name, path), SUBFOLDER)
    except UnexpectedAnswer as error:
        if error.status != 413:
            raise
        raise GenerationFailed("The input file is larger than what ComfyUI takes.") from error
