"""Pipelines for several tasks over one set of weights."""

from collections.abc import Mapping
from typing import Any

import torch

from framegate.core.errors import GenerationFailed
from framegate.core.types import Task
from framegate.plugins.diffusers.loading.pipelines import LoadedPipeline
from framegate.plugins.diffusers.loading.placement import place


class TaskPipelines:
    """One pipeline for each task, all of them over the components of ``loaded``.

    With model offload, hooks on the components belong to one pipeline; they move to the one that is selected.
    """

    def __init__(self, loaded: LoadedPipeline, device: torch.device, pipelines: Mapping[Task, Any]) -> None:
        self._placement = loaded.placement
        self._placed = loaded.pipeline
        self._device = device
        self._pipelines = dict(pipelines)

    def select(self, task: Task) -> Any:
        """Return the pipeline for ``task``, ready to run.

        Raises:
            GenerationFailed: The weights are not for this task.
        """
        pipeline = self._pipelines.get(task)
        if pipeline is None:
            able = " and ".join(sorted(self._pipelines))
            raise GenerationFailed(f"The weights of this model are for {able}, not for {task}.")
        if pipeline is not self._placed and self._placement.offload == "model":
            self._placed.remove_all_hooks()
            place(pipeline, self._placement, self._device)
        self._placed = pipeline
        return pipeline

    def free_model_hooks(self) -> None:
        """Reset the selected pipeline's offload hooks and cache state, as diffusers does after a call."""
        self._placed.maybe_free_model_hooks()
