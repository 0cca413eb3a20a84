"""Jobs for tests to which their content does not matter."""

import time

from framegate.core.jobs import Job, new_share_id
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Shot, Task


def make_job(
    job_id: str,
    *,
    owner: str = "",
    queue: str = "q-test",
    priority: int = 0,
    running_limits: dict[str, int] | None = None,
    collection: str = "",
    model: str = "test",
    served_by: str = "test",
    input_bytes: int = 0,
    **labels: str,
) -> Job:
    """Return a small job; ``labels`` are the dialect's. With ``input_bytes`` it starts from such an image."""
    image = MediaRef(MediaKind.IMAGE, f"inputs/{job_id}", 64, 64, size=input_bytes) if input_bytes else None
    return Job(
        id=job_id,
        model=model,
        served_by=served_by,
        queue=queue,
        dialect="test",
        request=GenerationRequest(model="test", task=Task.TEXT_TO_VIDEO, prompt="a boat", image=image),
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
