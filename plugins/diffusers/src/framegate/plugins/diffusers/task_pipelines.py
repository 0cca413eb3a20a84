"""Pipelines for several tasks over one set of weights."""

from collections.abc import Mapping
from typing import Any

from framegate.core.errors import GenerationFailed
from framegate.core.types import Task


class TaskPipelines:
    """One pipeline for each task, all of them over the same components."""

    def __init__(self, pipelines: Mapping[Task, Any]) -> None:
        self._pipelines = dict(pipelines)

    def select(self, task: Task) -> Any:
        """Return the pipeline for ``task``.

        Raises:
            GenerationFailed: The weights are not for this task.
        """
        pipeline = self._pipelines.get(task)
        if pipeline is None:
            able = " and ".join(sorted(self._pipelines))
            raise GenerationFailed(f"The weights of this model are for {able}, not for {task}.")
        return pipeline
