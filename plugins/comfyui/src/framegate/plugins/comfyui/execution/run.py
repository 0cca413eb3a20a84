"""Run one prompt on one server, from its upload to its result."""

import asyncio
import time
import uuid
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import aiohttp
import structlog

from framegate.core.backend import FinishedFile, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import Shot
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.execution.previews import CLIENT_FEATURES, Previews
from framegate.plugins.comfyui.execution.progress import GraphProgress
from framegate.plugins.comfyui.execution.prompt_builder import SUBFOLDER, build_prompt
from framegate.plugins.comfyui.execution.results import collect_results
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.servers.api_errors import blocks_output, prompt_error
from framegate.plugins.comfyui.servers.client import (
    ACCESS_DENIED,
    AccessDenied,
    ComfyClient,
    ServerUnavailable,
    UnexpectedResponse,
)
from framegate.plugins.comfyui.workflows.workflow import Workflow

_TOTAL_STEPS = 1000
_POLL_SECONDS = 1.0
_POLL_SECONDS_WITH_WEBSOCKET = 5.0
_REPORT_SECONDS = 0.25
_RECONNECT_SECONDS = 1.0
_CLEAN_UP_SECONDS = 10.0
_END_EVENTS = frozenset({"execution_success", "execution_error", "execution_interrupted"})
log = structlog.get_logger(__name__)


class ServerLost(Exception):
    """The server stopped responding, or came back without this prompt; the job can be tried again."""


class PromptRun:
    """Run ``workflow`` for ``shot``.

    The server's history is authoritative; the websocket only brings progress and previews.
    """

    def __init__(
        self,
        client: ComfyClient,
        config: ComfyConfig,
        workflow: Workflow,
        shot: Shot,
        context: GenerationContext,
    ) -> None:
        self._client = client
        self._config = config
        self._workflow = workflow
        self._shot = shot
        self._context = context
        self._client_id = uuid.uuid4().hex
        self._prompt_id = str(uuid.uuid4())
        self._progress = GraphProgress(workflow.graph)
        wants_previews = workflow.kind == "image" and context.num_partial_images > 0
        self._previews = Previews(shot, context.num_partial_images) if wants_previews else None
        self._is_connected = False
        self._poll_now = asyncio.Event()

    async def run(self) -> list[FinishedFile]:
        """Return the result's files, which lie in the context's ``workdir``.

        Raises:
            ServerLost: The job may be tried again, here or elsewhere.
            GenerationError: The graph can't be run, or failed.
            JobCancelled: Passed through from the context; the prompt is cancelled.
        """
        try:
            prompt = await build_prompt(
                self._client,
                self._workflow,
                self._shot,
                self._context,
                filename_prefix=f"{SUBFOLDER}/{self._prompt_id}",
            )
            listener = asyncio.create_task(self._listen())
            try:
                await self._submit(prompt)
                return await self._finish()
            finally:
                listener.cancel()
                await asyncio.gather(listener, return_exceptions=True)
        except ServerUnavailable as error:
            raise ServerLost(str(error)) from error
        except AccessDenied as error:
            raise GenerationFailed(ACCESS_DENIED) from error
        except UnexpectedResponse as error:
            log.warning("comfyui_unexpected", status=error.status, body=str(error.body)[:500])
            raise GenerationFailed(f"ComfyUI sent an unexpected response (status {error.status}).") from error

    async def _submit(self, prompt: Mapping[str, Any]) -> None:
        preview_method = None if self._previews is None else await self._preview_method()
        self._report("sent to ComfyUI")
        try:
            response = await self._client.submit(
                prompt,
                client_id=self._client_id,
                prompt_id=self._prompt_id,
                preview_method=preview_method,
            )
        except UnexpectedResponse as error:
            if error.status != 400:
                raise
            raise prompt_error(self._workflow, error.body) from error
        except (ServerUnavailable, asyncio.CancelledError):
            await self._cancel()  # the prompt may have arrived nevertheless
            raise
        # An old server chooses the id itself.
        self._prompt_id = str(table(response).get("prompt_id") or self._prompt_id)
        log.info("comfyui_prompt", server=self._client.server.name, prompt_id=self._prompt_id)
        if blocks_output(self._workflow, response):
            await self._cancel()
            raise prompt_error(self._workflow, response)

    async def _preview_method(self) -> str | None:
        """Return the method to request, or None for a server that was started with one of its own.

        A server started without ``--preview-method`` makes no previews unless a prompt asks for them. Servers
        from before the end of 2025 ignore what a prompt asks for.
        """
        try:
            system = table(table(await self._client.system_stats()).get("system"))
        except (AccessDenied, UnexpectedResponse):  # a proxy may hide it
            return "auto"
        arguments = items(system.get("argv"))
        has_own = any(str(argument).startswith("--preview-method") for argument in arguments)
        return None if has_own else "auto"

    async def _finish(self) -> list[FinishedFile]:
        try:
            entry = await self._wait_for_history()
        except ServerLost:
            raise
        except BaseException:
            await self._cancel()
            raise
        try:
            if self._previews is not None:
                self._previews.report(self._context)
            return await collect_results(self._client, self._context, self._workflow, self._shot, entry)
        finally:
            await _clean_up(self._client.delete_history(self._prompt_id))

    async def _wait_for_history(self) -> Mapping[str, Any]:
        """Return the prompt's entry in the history, once it has ended."""
        last_response = time.monotonic()
        started: float | None = None
        num_missing = 0
        while True:
            try:
                entry = await self._client.history(self._prompt_id)
                if entry is not None:
                    return entry
                queue = await self._client.queue()
            except ServerUnavailable as error:
                if time.monotonic() - last_response > self._config.connect_timeout:
                    raise ServerLost(str(error)) from error
            else:
                last_response = time.monotonic()
                if self._prompt_id in queue.running:
                    num_missing, started = 0, started or last_response
                elif self._prompt_id in queue.pending:
                    num_missing = 0
                    position = queue.pending.index(self._prompt_id) + 1
                    self._report(f"waiting in ComfyUI's queue at position {position}")
                else:
                    # It may have ended between the two requests; twice in a row is certain.
                    num_missing += 1
                    if num_missing > 1:
                        raise ServerLost("it no longer knows the prompt")
            if self._progress.started:
                started = started or time.monotonic()
            if started and time.monotonic() - started > self._config.run_timeout:
                raise GenerationFailed(
                    f"ComfyUI did not finish the prompt {self._prompt_id} within "
                    f"{self._config.run_timeout:g} s; allow more with plugins.comfyui.run_timeout."
                )
            relaxed = self._is_connected and not num_missing
            await self._pause(_POLL_SECONDS_WITH_WEBSOCKET if relaxed else _POLL_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Report progress until it is time to poll again."""
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0 and not self._poll_now.is_set():
            if self._previews is not None:
                self._previews.report(self._context)
            if self._progress.started:
                self._report(self._progress.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(remaining, _REPORT_SECONDS)):
                    await self._poll_now.wait()
        self._poll_now.clear()

    def _report(self, message: str) -> None:
        self._context.report(int(self._progress.fraction * _TOTAL_STEPS), _TOTAL_STEPS, message)

    async def _listen(self) -> None:
        """Follow the websocket, reconnecting whenever it drops."""
        while True:
            with suppress(ServerUnavailable, aiohttp.ClientError, OSError):
                async with self._client.websocket(self._client_id, CLIENT_FEATURES) as socket:
                    self._is_connected = True
                    async for message in socket:
                        self._handle_message(message)
            if self._is_connected:
                self._is_connected = False
                self._poll_now.set()  # the prompt may have ended meanwhile
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _handle_message(self, message: aiohttp.WSMessage) -> None:
        if message.type == aiohttp.WSMsgType.TEXT:
            with suppress(ValueError, RecursionError):
                self._handle_event(message.json())
        elif message.type == aiohttp.WSMsgType.BINARY and self._previews is not None:
            self._previews.handle_message(message.data, self._prompt_id, self._progress.sampled)

    def _handle_event(self, event: Any) -> None:
        event_type, data = str(table(event).get("type")), table(table(event).get("data"))
        is_ours = data.get("prompt_id") == self._prompt_id
        if self._previews is not None:
            self._previews.handle_event(event_type, is_ours=is_ours)
        if is_ours:
            self._progress.handle_event(event_type, data)
            if event_type in _END_EVENTS or (event_type == "executing" and data.get("node") is None):
                self._poll_now.set()

    async def _cancel(self) -> None:
        await _clean_up(self._client.cancel(self._prompt_id))


async def _clean_up(request: Coroutine[Any, Any, None]) -> None:
    """Await a last request, also if the job is cancelled meanwhile; if it fails, nothing can be done."""
    task = asyncio.create_task(_ignore_failure(request))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _ignore_failure(request: Coroutine[Any, Any, None]) -> None:
    with suppress(ServerUnavailable, AccessDenied, UnexpectedResponse, TimeoutError):
        async with asyncio.timeout(_CLEAN_UP_SECONDS):
            await request
