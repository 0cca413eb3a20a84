"""Check the servers, and the workflows against them."""

import asyncio
import time
from collections.abc import Collection, Mapping

from framegate.core.errors import ConfigError
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.servers.client import (
    AccessDenied,
    ComfyClient,
    ServerUnavailable,
    UnexpectedResponse,
)
from framegate.plugins.comfyui.servers.pool import open_clients
from framegate.plugins.comfyui.workflows.compatibility import (
    describe_missing_files,
    find_incompatibilities,
    find_missing_files,
)
from framegate.plugins.comfyui.workflows.library import WorkflowLibrary
from framegate.plugins.comfyui.workflows.node_schema import NodeSchema

_CACHE_SECONDS = 60.0
_MAX_CONCURRENT_REQUESTS = 8

_schema_cache: dict[str, tuple[float, dict[str, NodeSchema]]] = {}
"""By server URL: when the cache was last emptied, and the node classes read since."""


async def check_servers(config: ComfyConfig, library: WorkflowLibrary) -> list[str]:
    """Return a sentence for each server that can't be used and each workflow that does not run there."""
    try:
        async with open_clients(config) as clients:
            checks = await asyncio.gather(*(_check_server(client, config, library) for client in clients))
    except ConfigError as error:
        return [error.message]
    return [finding for findings in checks for finding in findings]


async def _check_server(client: ComfyClient, config: ComfyConfig, library: WorkflowLibrary) -> list[str]:
    name = client.server.name
    try:
        async with asyncio.timeout(config.connect_timeout):
            await client.system_stats()
        workflows = [model.workflow for model in library.models().values()]
        schema = await _fetch_schema(client, {name for each in workflows for name in each.class_types})
    except (ServerUnavailable, TimeoutError) as error:
        return [f"The ComfyUI at {name} does not respond ({str(error) or 'no response in time'})."]
    except AccessDenied as error:
        return [f"The ComfyUI at {name} denies access ({error}): check its token in the config."]
    except UnexpectedResponse as error:
        return [f"The server at {name} is not a ComfyUI: it responds with status {error.status}."]
    findings: list[str] = []
    for workflow in workflows:
        if reasons := list(find_incompatibilities(workflow, schema)):
            findings.append(
                f"The workflow {workflow.name} does not run on the ComfyUI at {name}: {'; '.join(reasons)}."
            )
        if missing := find_missing_files(workflow, schema):
            findings.append(describe_missing_files(f"The ComfyUI at {name}", workflow.name, missing))
    return findings


async def _fetch_schema(client: ComfyClient, class_types: Collection[str]) -> Mapping[str, NodeSchema]:
    """Return what the server declares of the node classes that it has, cached for a minute."""
    emptied_at, known = _schema_cache.get(client.server.url, (0.0, dict[str, NodeSchema]()))
    if time.monotonic() - emptied_at > _CACHE_SECONDS:
        emptied_at, known = time.monotonic(), {}
    limit = asyncio.Semaphore(_MAX_CONCURRENT_REQUESTS)

    async def fetch(class_type: str) -> None:
        async with limit:
            known.update(await client.object_info(class_type))

    await asyncio.gather(*(fetch(name) for name in sorted(set(class_types) - known.keys())))
    _schema_cache[client.server.url] = emptied_at, known
    return known
