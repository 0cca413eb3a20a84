"""One graph on one server, from its upload to its result."""

import asyncio
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from framegate.core.backend import FinishedFile, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import MediaKind, Shot
from framegate.plugins.comfyui.config import ComfyConfig
from framegate.plugins.comfyui.execution.media_files import (
    as_video,
    files_of,
    suffix_of,
    with_sound,
    without_metadata,
)
from framegate.plugins.comfyui.execution.previews import CLIENT_FEATURES, Previews
from framegate.plugins.comfyui.execution.progress import GraphProgress
from framegate.plugins.comfyui.execution.prompt_builder import SUBFOLDER, build_prompt
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.servers.api_errors import blocks_output, execution_error, refusal
from framegate.plugins.comfyui.servers.client import (
    AccessRefused,
    ComfyClient,
    ServerDown,
    StoredFile,
    UnexpectedAnswer,
)
from framegate.plugins.comfyui.workflows.workflow import Workflow

_TOTAL = 1000
_LOOK_SECONDS = 1.0
_LOOK_SECONDS_LIVE = 5.0
_WITHDRAW_SECONDS = 10.0
log = structlog.get_logger(__name__)


class ServerLost(Exception):
    """The server stopped answering, or came back without this prompt: it can be tried again."""


class GraphRun:
    """Runs ``workflow`` for ``shot``. The history is the truth; the websocket only tells progress."""

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
        watched = workflow.kind == "image" and context.num_partial_images > 0
        self._previews = Previews(shot, context.num_partial_images) if watched else None
        self._live = False
        self._news = asyncio.Event()

    async def run(self) -> list[FinishedFile]:
        """Raises:
        ServerLost: it may be tried again, here or elsewhere.
        GenerationError: the graph can't be run, or failed.
        JobCancelled: passed through; the prompt is withdrawn.
        """
        try:
            prompt = await build_prompt(
                self._client,
                self._workflow,
                self._shot,
                self._context,
                prefix=f"{SUBFOLDER}/{self._prompt_id}",
            )
            listening = asyncio.create_task(self._listen())
            try:
                await self._submit(prompt)
                return await self._finish()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
        except ServerDown as error:
            raise ServerLost(str(error)) from error
        except AccessRefused as error:
            raise GenerationFailed(
                "ComfyUI refuses access; its token in the server's config is wrong."
            ) from error
        except UnexpectedAnswer as error:
            log.warning("comfyui_strange", status=error.status, body=str(error.body)[:500])
            raise GenerationFailed(f"ComfyUI gave an unexpected answer (status {error.status}).") from error

    async def _submit(self, prompt: Mapping[str, Any]) -> None:
        preview_method = None if self._previews is None else await self._preview_method()
        self._say("sent to ComfyUI")
        try:
            answer = await self._client.submit(
                prompt,
                client_id=self._client_id,
                prompt_id=self._prompt_id,
                preview_method=preview_method,
            )
        except UnexpectedAnswer as error:
            if error.status != 400:
                raise
            raise refusal(self._workflow, error.body) from error
        except (ServerDown, asyncio.CancelledError):
            await self._withdraw()  # it may have arrived all the same
            raise
        # An old server chooses the id itself.
        self._prompt_id = str(table(answer).get("prompt_id") or self._prompt_id)
        log.info("comfyui_prompt", server=self._client.server.name, prompt_id=self._prompt_id)
        if blocks_output(self._workflow, answer):
            await self._withdraw()
            raise refusal(self._workflow, answer)

    async def _preview_method(self) -> str | None:
        """What to ask for: a server that was not started with ``--preview-method`` makes no previews else.
        What it was started with holds. Servers from before the end of 2025 don't heed what is asked for."""
        try:
            system = table(table(await self._client.stats()).get("system"))
        except (AccessRefused, UnexpectedAnswer):  # it may be hidden
            return "auto"
        chosen = any(str(argument).startswith("--preview-method") for argument in items(system.get("argv")))
        return None if chosen else "auto"

    async def _finish(self) -> list[FinishedFile]:
        try:
            entry = await self._wait()
        except ServerLost:
            raise
        except BaseException:
            await self._withdraw()
            raise
        try:
            return await self._take(entry)
        finally:
            with suppress(ServerDown, AccessRefused, UnexpectedAnswer, TimeoutError):
                async with asyncio.timeout(_WITHDRAW_SECONDS):
                    await self._client.forget(self._prompt_id)

    async def _wait(self) -> Mapping[str, Any]:
        """The prompt's entry in the history, once it has ended."""
        answered = time.monotonic()
        started: float | None = None
        missing = 0
        while True:
            try:
                entry = await self._client.history(self._prompt_id)
                if entry is not None:
                    return entry
                load = await self._client.load()
            except ServerDown as error:
                if time.monotonic() - answered > self._config.connect_timeout:
                    raise ServerLost(str(error)) from error
            else:
                answered = time.monotonic()
                if self._prompt_id in load.running:
                    missing, started = 0, started or answered
                elif self._prompt_id in load.pending:
                    missing = 0
                    self._say(f"waiting in ComfyUI's queue, {load.pending.index(self._prompt_id) + 1}.")
                else:
                    # It may have ended between the two questions; twice is certain.
                    missing += 1
                    if missing > 1:
                        raise ServerLost("it does not know the prompt any more")
            if self._progress.started:
                started = started or time.monotonic()
            if started and time.monotonic() - started > self._config.run_timeout:
                raise GenerationFailed(
                    f"ComfyUI did not finish within {self._config.run_timeout:g} s; its prompt was "
                    f"{self._prompt_id}."
                )
            await self._pause(_LOOK_SECONDS_LIVE if self._live and not missing else _LOOK_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Until it is worth looking again. Progress is told meanwhile."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._news.is_set():
            if self._previews is not None:
                self._previews.show(self._context)
            if self._progress.started:
                self._say(self._progress.message)
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, 0.25)):
                    await self._news.wait()
        self._news.clear()

    def _say(self, message: str) -> None:
        self._context.report(int(self._progress.fraction * _TOTAL), _TOTAL, message)

    async def _listen(self) -> None:
        """Follow the websocket, again and again if it drops."""
        while True:
            with suppress(ServerDown, aiohttp.ClientError, OSError):
                async with self._client.events(self._client_id, CLIENT_FEATURES) as socket:
                    self._live = True
                    async for message in socket:
                        if message.type == aiohttp.WSMsgType.TEXT:
                            with suppress(ValueError, RecursionError):
                                self._heed(message.json())
                        elif message.type == aiohttp.WSMsgType.BINARY and self._previews is not None:
                            self._previews.take(message.data, self._prompt_id, self._progress.sampled)
            if self._live:
                self._live = False
                self._news.set()  # it may have ended: look at once
            await asyncio.sleep(1)

    def _heed(self, event: Any) -> None:
        kind, data = table(event).get("type"), table(table(event).get("data"))
        is_ours = data.get("prompt_id") == self._prompt_id
        if self._previews is not None:
            self._previews.after_progress = is_ours and kind == "progress"
        if isinstance(kind, str) and is_ours:
            self._progress.take(kind, data)
            ended = kind in ("execution_success", "execution_error", "execution_interrupted")
            if ended or (kind == "executing" and data.get("node") is None):
                self._news.set()

    async def _take(self, entry: Mapping[str, Any]) -> list[FinishedFile]:
        if self._previews is not None:
            self._previews.show(self._context)
        workflow = self._workflow
        status = table(entry.get("status"))
        for kind, data in _messages(status):
            if kind == "execution_error":
                raise execution_error(workflow, data)
            if kind == "execution_interrupted":
                raise GenerationFailed("The graph was interrupted on the ComfyUI server.")
        if status.get("status_str") == "error":
            raise GenerationFailed("ComfyUI failed and does not say why.")
        made = files_of(table(entry.get("outputs")).get(workflow.output), workflow.kind)
        if not made:
            label = workflow.graph[workflow.output].label
            raise GenerationFailed(f"ComfyUI finished, but {label} made no {workflow.kind}.")
        wanted = 1 if workflow.kind == "video" else self._shot.num_frames
        files: list[FinishedFile] = []
        for index, file in enumerate(made[:wanted]):
            self._context.check_cancelled()
            path = await self._fetch(file, f"result-{index}")
            if workflow.kind == "video":
                path = await asyncio.to_thread(as_video, path, self._shot.fps)
            path = await asyncio.to_thread(without_metadata, path)
            files.append(FinishedFile(path, MediaKind(workflow.kind)))
        if workflow.sound and workflow.kind == "video":
            sounds = files_of(table(entry.get("outputs")).get(workflow.sound), "audio")
            if sounds:
                sound = await self._fetch(sounds[0], "sound")
                path = await asyncio.to_thread(with_sound, files[0].path, sound)
                files[0] = FinishedFile(path, MediaKind.VIDEO)
        return files

    async def _fetch(self, file: StoredFile, name: str) -> Path:
        target = self._context.workdir / f"{name}{suffix_of(file) or '.bin'}"
        await self._client.download(file, target)
        return target

    async def _withdraw(self) -> None:
        with suppress(ServerDown, AccessRefused, UnexpectedAnswer, TimeoutError):
            async with asyncio.timeout(_WITHDRAW_SECONDS):
                await self._client.withdraw(self._prompt_id)


def _messages(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    messages = [items(message) for message in items(status.get("messages"))]
    return [(str(message[0]), table(message[1])) for message in messages if len(message) == 2]
