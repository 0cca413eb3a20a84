"""The third step of a submission: the job's record."""

import secrets
import time
import uuid

from framegate.core import planning
from framegate.core.admission import AdmittedSubmission
from framegate.core.fitting import FittedRequest
from framegate.core.jobs import Job, new_share_id
from framegate.core.registry import ServedModel
from framegate.core.submission import Client
from framegate.core.types import MediaKind

SEED_RANGE = 2**31
"""Seeds that are drawn for requests without one are below it."""


def build_job(admitted: AdmittedSubmission, fitted: FittedRequest) -> Job:
    """Plan the shots of ``fitted`` and return the queued job, whose time limit is yet to be set.

    Raises:
        InvalidRequest: The video can't be made in shots; see `planning.plan`.
    """
    submission, served, style = admitted.submission, admitted.served, admitted.style
    request, client = fitted.request, submission.client
    seed = secrets.randbelow(SEED_RANGE) if request.seed is None else request.seed
    is_video = request.task.output == MediaKind.VIDEO
    return Job(
        id=submission.job_id or uuid.uuid4().hex,
        model=request.model,
        served_by=served.spec.id,
        queue=served.spec.queue,
        dialect=submission.dialect,
        request=request,
        shots=planning.plan(served.spec, fitted, seed, style_prompt=style.prompt if style else ""),
        changes=fitted.changes,
        created_at=time.time(),
        owner=client.name,
        priority=client.priority + submission.priority,
        running_limits=_running_limits(client, served),
        request_id=submission.request_id,
        labels=dict(submission.labels),
        share_id=new_share_id() if is_video else "",
        collection=submission.collection,
        webhooks=admitted.webhooks if is_video else (),
    )


def _running_limits(client: Client, served: ServedModel) -> dict[str, int]:
    own = {f"key:{client.name}": client.max_running} if client.max_running else {}
    return {**own, **served.running_limits}
