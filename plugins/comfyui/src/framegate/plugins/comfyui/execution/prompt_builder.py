"""Build the prompt for ``POST /prompt``: a workflow's graph with a shot's values in it."""

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from framegate.core.backend import GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot
from framegate.plugins.comfyui.execution.values import bind_values, content_name, media_files, shot_values
from framegate.plugins.comfyui.servers.client import ComfyClient, UnexpectedResponse
from framegate.plugins.comfyui.workflows.bindings import bind_parameters
from framegate.plugins.comfyui.workflows.errors import WorkflowError
from framegate.plugins.comfyui.workflows.graph import Graph, prune
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema
from framegate.plugins.comfyui.workflows.vocabulary import ParameterKey
from framegate.plugins.comfyui.workflows.workflow import Workflow

SUBFOLDER = "framegate"
"""The folder of Framegate's files among ComfyUI's inputs and outputs."""


async def build_prompt(
    client: ComfyClient, workflow: Workflow, shot: Shot, context: GenerationContext, *, filename_prefix: str
) -> dict[str, Any]:
    """Upload the shot's input files and return the prompt.

    The names of saved files begin with ``filename_prefix``. As long as that differs from run to run, ComfyUI
    never responds from its cache alone.

    Raises:
        GenerationFailed: The workflow or a value does not fit the server, or an input is missing.
    """
    files = media_files(workflow, context)
    graph = await _without_missing_media(
        client, workflow, {key for key, path in files.items() if path is None}
    )
    bound_nodes = {parameter.node for parameter in workflow.parameters} & graph.keys()
    schema = await _fetch_schema(client, {graph[node].class_type for node in bound_nodes})
    try:
        parameters = bind_parameters(graph, schema)
    except WorkflowError as error:
        raise GenerationFailed(
            f"The workflow {workflow.name} does not fit this ComfyUI: {error.reason}."
        ) from error
    values: dict[ParameterKey, Any] = shot_values(shot)
    for key, path in files.items():
        if path is not None:
            values[key] = await _upload(client, path)
    changes = bind_values(parameters, values, schema, graph)
    for node in graph.values():
        if isinstance(node.inputs.get("filename_prefix"), str):
            changes[node.id, "filename_prefix"] = filename_prefix
    return fill_graph(graph, changes)


def fill_graph(graph: Graph, values: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return the graph in API format, with ``values`` by node and input.

    The values are inserted as they are: nothing in them is ever read as JSON or as a marker.
    """
    prompt: dict[str, Any] = {}
    for node in graph.values():
        own = {name: value for (node_id, name), value in values.items() if node_id == node.id}
        prompt[node.id] = {
            "class_type": node.class_type,
            "inputs": {**node.inputs, **own},
            "_meta": {"title": node.title or node.class_type},
        }
    return prompt


async def _without_missing_media(
    client: ComfyClient, workflow: Workflow, missing: Collection[ParameterKey]
) -> Graph:
    """Return the workflow's graph without the loaders of inputs that the job lacks."""
    loaders = {parameter.node for parameter in workflow.parameters if parameter.key in missing}
    if not loaders:
        return workflow.graph
    graph = prune(workflow.graph, loaders, await _fetch_schema(client, workflow.class_types))
    if workflow.output not in graph:
        names = " and an ".join(sorted(key.replace("_", " ") for key in missing))
        raise GenerationFailed(f"The workflow {workflow.name} needs an input {names}; the request has none.")
    return graph


async def _fetch_schema(client: ComfyClient, class_types: Collection[str]) -> Mapping[str, NodeSchema]:
    schemas = await asyncio.gather(*(client.object_info(name) for name in sorted(class_types)))
    return {name: node for schema in schemas for name, node in schema.items()}


async def _upload(client: ComfyClient, path: Path) -> str:
    try:
        return await client.upload(path, await asyncio.to_thread(content_name, path), SUBFOLDER)
    except UnexpectedResponse as error:
        if error.status != 413:
            raise
        size = (await asyncio.to_thread(path.stat)).st_size
        raise GenerationFailed(
            f"The input file is too large for ComfyUI ({size / 2**20:.0f} MiB); send a smaller one."
        ) from error
