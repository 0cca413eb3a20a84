"""The backend: run each shot as a graph on a ComfyUI server."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from framegate.core.backend import Backend, FinishedFile, GenerationContext
from framegate.core.errors import ConfigError, GenerationFailed
from framegate.core.types import Shot
from framegate.plugins.comfyui.catalogue import get_library
from framegate.plugins.comfyui.config import ComfyConfig, read_config
from framegate.plugins.comfyui.execution.run import PromptRun, ServerLost
from framegate.plugins.comfyui.servers.api_errors import MissingModelFiles, MissingNodeClass
from framegate.plugins.comfyui.servers.client import ComfyClient
from framegate.plugins.comfyui.servers.pool import ServerPool, open_clients
from framegate.plugins.comfyui.workflows.workflow import Workflow

_CANCEL_CHECK_SECONDS = 0.25
log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class ComfyBackend(Backend):
    """Run one workflow on the configured servers.

    ``source`` is the workflow's name, ``options`` the table ``[plugins.comfyui]``. Nothing is held between
    jobs: ComfyUI keeps its models itself.
    """

    def __init__(self, source: str = "", options: Mapping[str, Any] | None = None) -> None:
        super().__init__(source, options)
        self._config: ComfyConfig = read_config(self.options)

    def load(self, device: str) -> None:
        """Check that the workflow exists; ``device`` is ignored: ComfyUI chooses its own.

        Raises:
            GenerationFailed: The workflow's file is broken or was removed.
        """
        self._get_workflow()

    def generate(self, shot: Shot, context: GenerationContext) -> list[FinishedFile]:
        """Run the graph on the least loaded server, and again elsewhere if that server is lost.

        Raises:
            GenerationFailed: The graph can't be run, or failed.
            JobCancelled: Passed through from the context.
        """
        try:
            return asyncio.run(_until_cancelled(self._generate(shot, context), context))
        except ConfigError as error:
            log.error("comfyui_config", reason=error.message)
            raise GenerationFailed(
                "The worker's access to ComfyUI is not set up; its log says what is missing."
            ) from error

    def _get_workflow(self) -> Workflow:
        model = get_library(self._config).models().get(self.source)
        if model is None:
            raise GenerationFailed(f"The workflow {self.source} is broken, or its file was removed.")
        return model.workflow

    async def _generate(self, shot: Shot, context: GenerationContext) -> list[FinishedFile]:
        workflow = self._get_workflow()
        losses = 0
        unfit: dict[ComfyClient, GenerationFailed] = {}
        async with open_clients(self._config) as clients:
            pool = ServerPool(clients, self._config)
            while True:
                client = await pool.choose(
                    exclude=unfit, on_wait=lambda: context.report(0, 1, "waiting for ComfyUI")
                )
                if client is None:
                    raise next(iter(unfit.values()))
                try:
                    return await PromptRun(client, self._config, workflow, shot, context).run()
                except ServerLost as error:
                    losses += 1
                    log.warning("comfyui_lost", server=client.server.name, reason=str(error), times=losses)
                    if losses >= self._config.tries:
                        raise GenerationFailed(
                            f"ComfyUI ended or stopped responding {losses} times while it ran this job."
                        ) from error
                except (MissingModelFiles, MissingNodeClass) as error:
                    unfit[client] = error


async def _until_cancelled(work: Coroutine[Any, Any, Result], context: GenerationContext) -> Result:
    """Await ``work``, and abandon it within moments once the job is cancelled."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            context.check_cancelled()
            await asyncio.wait({task}, timeout=_CANCEL_CHECK_SECONDS)
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
