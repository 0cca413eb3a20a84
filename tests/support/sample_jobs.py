"""Jobs for tests to which their content does not matter."""

import time

from framegate.core.jobs import Job, new_share_id
from framegate.core.types import GenerationRequest, Shot, Task


def make_job(
    job_id: str,
    *,
    owner: str = "",
    queue: str = "q-test",
    priority: int = 0,
    running_limits: dict[str, int] | None = None,
    collection: str = "",
    served_by: str = "test",
    **labels: str,
) -> Job:
    """Return a small text-to-video job; ``labels`` are the dialect's."""
    return Job(
        id=job_id,
        model="test",
        served_by=served_by,
        queue=queue,
        dialect="test",
        request=GenerationRequest(model="test", task=Task.TEXT_TO_VIDEO, prompt="a boat"),
        shots=(
            Shot(
                task=Task.TEXT_TO_VIDEO,
                prompt="a boat",
                width=64,
                height=64,
                num_frames=8,
                fps=8,
                seed=1,
                num_inference_steps=1,
                guidance_scale=1,
            ),
        ),
        created_at=time.time(),
        owner=owner,
        priority=priority,
        running_limits=running_limits or {},
        labels=labels,
        share_id=new_share_id(),
        collection=collection,
    )
