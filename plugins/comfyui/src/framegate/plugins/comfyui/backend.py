"""The backend: a shot becomes a graph on a ComfyUI server."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from framegate.core.backend import Backend, FinishedFile, GenerationContext
from framegate.core.errors import ConfigError, GenerationFailed
from framegate.core.types import Shot
from framegate.plugins.comfyui.catalogue import library_of
from framegate.plugins.comfyui.config import ComfyConfig, read_config
from framegate.plugins.comfyui.execution.run import GraphRun, ServerLost
from framegate.plugins.comfyui.servers.api_errors import MissingFiles, MissingNodes
from framegate.plugins.comfyui.servers.pool import ServerPool, open_clients
from framegate.plugins.comfyui.workflows.workflow import Workflow

_CANCEL_SECONDS = 0.25
log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class ComfyBackend(Backend):
    """``source`` is the workflow's name, ``options`` the table ``[plugins.comfyui]``. Nothing is held between
    jobs: ComfyUI keeps its models itself."""

    def __init__(self, source: str = "", options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, options)
        self._config: ComfyConfig = read_config(self.options)

    def load(self, device: str) -> None:
        self._workflow()

    def generate(self, shot: Shot, context: GenerationContext) -> list[FinishedFile]:
        try:
            return asyncio.run(_guarded(self._generate(shot, context), context))
        except ConfigError as error:
            log.error("comfyui_config", reason=error.message)
            raise GenerationFailed(
                "The worker's access to ComfyUI is not set up; its log says what is missing."
            ) from error

    def _workflow(self) -> Workflow:
        entry = library_of(self._config).entries().get(self.source)
        if entry is None:
            raise GenerationFailed(f"The workflow {self.source} is broken, or its file was removed.")
        return entry.workflow

    async def _generate(self, shot: Shot, context: GenerationContext) -> list[FinishedFile]:
        workflow = self._workflow()
        lost = 0
        lacking: dict[Any, GenerationFailed] = {}
        async with open_clients(self._config) as clients:
            pool = ServerPool(clients, self._config)
            while True:
                client = await pool.choose(
                    lambda: context.report(0, 1, "waiting for ComfyUI"), without=lacking
                )
                if client is None:
                    raise next(iter(lacking.values()))
                try:
                    return await GraphRun(client, self._config, workflow, shot, context).run()
                except ServerLost as error:
                    lost += 1
                    log.warning("comfyui_lost", server=client.server.name, reason=str(error), times=lost)
                    if lost >= self._config.tries:
                        raise GenerationFailed(
                            f"ComfyUI ended or stopped answering {lost} times while it ran this job."
                        ) from error
                except (MissingFiles, MissingNodes) as error:
                    lacking[client] = error


async def _guarded(work: Coroutine[Any, Any, Result], context: GenerationContext) -> Result:
    """``work``, left within moments when the job is cancelled."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            context.check_cancelled()
            await asyncio.wait({task}, timeout=_CANCEL_SECONDS)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
