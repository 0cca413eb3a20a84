"""Fetch the files that a prompt made, or explain why there are none."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from framegate.core.backend import FinishedFile, GenerationContext
from framegate.core.errors import GenerationFailed
from framegate.core.types import MediaKind, Shot
from framegate.plugins.comfyui.execution.media_files import add_audio, animation_to_video, strip_metadata
from framegate.plugins.comfyui.execution.outputs import select_files, suffix_of
from framegate.plugins.comfyui.json_access import items, table
from framegate.plugins.comfyui.servers.api_errors import execution_error
from framegate.plugins.comfyui.servers.client import ComfyClient, StoredFile
from framegate.plugins.comfyui.workflows.workflow import Workflow


async def collect_results(
    client: ComfyClient,
    context: GenerationContext,
    workflow: Workflow,
    shot: Shot,
    history_entry: Mapping[str, Any],
) -> list[FinishedFile]:
    """Download the files of the workflow's result into the context's ``workdir``.

    A video is one file, images are up to ``shot.num_frames`` files.

    Raises:
        GenerationError: The prompt failed, was interrupted, or made no such file.
        JobCancelled: Passed through from the context.
    """
    _raise_for_failure(workflow, table(history_entry.get("status")))
    outputs = table(history_entry.get("outputs"))
    files = select_files(outputs.get(workflow.output), workflow.kind)
    if not files:
        label = workflow.graph[workflow.output].label
        raise GenerationFailed(f"ComfyUI finished, but {label} made no {workflow.kind}.")
    if workflow.kind == "image":
        images = [
            await _fetch_image(client, context, file, index)
            for index, file in enumerate(files[: shot.num_frames])
        ]
        return [FinishedFile(path, MediaKind.IMAGE) for path in images]
    audio_files = select_files(outputs.get(workflow.audio_output), "audio") if workflow.audio_output else []
    video = await _fetch(client, context, files[0], "result-0")
    video = await asyncio.to_thread(animation_to_video, video, shot.fps)
    video = await asyncio.to_thread(strip_metadata, video)
    if audio_files:
        audio = await _fetch(client, context, audio_files[0], "audio")
        video = await asyncio.to_thread(add_audio, video, audio)
    return [FinishedFile(video, MediaKind.VIDEO)]


def _raise_for_failure(workflow: Workflow, status: Mapping[str, Any]) -> None:
    for event_type, data in _messages(status):
        if event_type == "execution_error":
            raise execution_error(workflow, data)
        if event_type == "execution_interrupted":
            raise GenerationFailed("The prompt was interrupted on the ComfyUI server.")
    if status.get("status_str") == "error":
        raise GenerationFailed("ComfyUI failed without giving a reason.")


def _messages(status: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    messages = (items(message) for message in items(status.get("messages")))
    return ((str(message[0]), table(message[1])) for message in messages if len(message) == 2)


async def _fetch_image(client: ComfyClient, context: GenerationContext, file: StoredFile, index: int) -> Path:
    path = await _fetch(client, context, file, f"result-{index}")
    return await asyncio.to_thread(strip_metadata, path)


async def _fetch(client: ComfyClient, context: GenerationContext, file: StoredFile, name: str) -> Path:
    context.check_cancelled()
    target = context.workdir / f"{name}{suffix_of(file) or '.bin'}"
    await client.download(file, target)
    return target
