"""Workflows held against what servers say of their nodes."""

import asyncio
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from framegate.core.errors import ConfigError
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.servers.client import AccessRefused, ComfyClient, ServerDown, UnexpectedAnswer
from framegate.plugins.comfyui.servers.pool import open_clients
from framegate.plugins.comfyui.workflows.bindings import find_parameters
from framegate.plugins.comfyui.workflows.errors import WorkflowFault
from framegate.plugins.comfyui.workflows.graph import Node, is_link
from framegate.plugins.comfyui.workflows.library import Library
from framegate.plugins.comfyui.workflows.model_files import is_model_file, lacking
from framegate.plugins.comfyui.workflows.node_schema import InputSchema, NodeSchema
from framegate.plugins.comfyui.workflows.workflow import Workflow

KEEP_SCHEMA_SECONDS = 60.0
_AT_ONCE = 8
_MAX_OPTIONS = 12

_schemas: dict[str, tuple[float, dict[str, NodeSchema]]] = {}


async def check_servers(config: ComfyConfig, library: Library) -> list[str]:
    """What is wrong with the servers, and with the workflows there, a sentence each."""
    try:
        async with open_clients(config) as clients:
            found = await asyncio.gather(*(_check_server(client, config, library) for client in clients))
    except ConfigError as error:
        return [error.message]
    return [problem for problems in found for problem in problems]


async def _check_server(client: ComfyClient, config: ComfyConfig, library: Library) -> list[str]:
    name = client.server.name
    try:
        async with asyncio.timeout(config.connect_timeout):
            await client.stats()
        workflows = [entry.workflow for entry in library.entries().values()]
        schema = await schema_of(client, {name for workflow in workflows for name in workflow.classes})
    except (ServerDown, TimeoutError) as error:
        return [f"The ComfyUI at {name} does not answer ({str(error) or 'no answer in time'})."]
    except AccessRefused as error:
        return [f"The ComfyUI at {name} refuses access ({error}): check its token in the config."]
    except UnexpectedAnswer as error:
        return [f"What answers at {name} is no ComfyUI (status {error.status} for its queries)."]
    problems: list[str] = []
    for workflow in workflows:
        if faults := list(misfits(workflow, schema)):
            problems.append(
                f"The workflow {workflow.name} does not run on the ComfyUI at {name}: {'; '.join(faults)}."
            )
        if files := missing_files(workflow, schema):
            problems.append(lacking(f"The ComfyUI at {name}", workflow.name, files))
    return problems


async def schema_of(client: ComfyClient, classes: Collection[str]) -> Mapping[str, NodeSchema]:
    """What the server says of ``classes``; those that it lacks are left out. It is kept for a while."""
    asked_at, known = _schemas.get(client.server.url, (0.0, dict[str, NodeSchema]()))
    if time.monotonic() - asked_at > KEEP_SCHEMA_SECONDS:
        asked_at, known = time.monotonic(), {}
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(class_type: str) -> None:
        async with gate:
            known.update(await client.schema(class_type))

    await asyncio.gather(*(ask(name) for name in sorted(set(classes) - known.keys())))
    _schemas[client.server.url] = asked_at, known
    return known


def misfits(workflow: Workflow, schema: Mapping[str, NodeSchema]) -> Iterator[str]:
    """Where the workflow does not fit a server's nodes, naming node, title and what would fit; missing model
    files aside."""
    lacking = sorted(workflow.classes - schema.keys())
    if lacking:
        yield f"it lacks the nodes {', '.join(lacking)}"
    try:
        parameters = find_parameters(workflow.graph, schema)
    except WorkflowFault as fault:
        yield fault.reason
        return
    set_by_requests = {(each.node, each.input) for each in parameters if each.key is not None}
    for node in workflow.graph.values():
        if declared := schema.get(node.class_type):
            for name, spec in declared.inputs.items():
                if (node.id, name) not in set_by_requests and (reason := _misfit(node, name, spec)):
                    yield f"{node.label}: {reason}"


def missing_files(workflow: Workflow, schema: Mapping[str, NodeSchema]) -> dict[str, list[str]]:
    """The model files that a server does not have, each with the nodes that name it."""
    missing: dict[str, list[str]] = {}
    for node in workflow.graph.values():
        if declared := schema.get(node.class_type):
            for name, spec in declared.inputs.items():
                if _lacks_file(node.inputs.get(name), spec):
                    missing.setdefault(node.inputs[name], []).append(node.label)
    return missing


def _lacks_file(value: Any, spec: InputSchema) -> bool:
    return is_model_file(value) and spec.options is not None and not spec.upload and value not in spec.options


def _misfit(node: Node, name: str, spec: InputSchema) -> str:
    if name not in node.inputs:
        return f"its input {name} is missing" if spec.required else ""
    value: Any = node.inputs[name]
    if is_link(value) or spec.upload or _lacks_file(value, spec):
        return ""
    if spec.options is not None and value not in spec.options:
        shown = ", ".join(str(option) for option in spec.options[:_MAX_OPTIONS]) or "nothing"
        more = f" and {len(spec.options) - _MAX_OPTIONS} more" if len(spec.options) > _MAX_OPTIONS else ""
        return f"{name} is {value!r}, and it has {shown}{more}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if spec.min is not None and value < spec.min:
            return f"{name} is {value:g}; {spec.min:g} or more would fit"
        if spec.max is not None and value > spec.max:
            return f"{name} is {value:g}; {spec.max:g} or less would fit"
    return ""
