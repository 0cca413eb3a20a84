"""Submissions, and the clients that they come from."""

from collections.abc import Mapping
from typing import Any, Self

from msgspec import Struct

from framegate.core.errors import ModelNotAllowed, PermissionDenied, PlanRequired
from framegate.core.jobs import CLIENT_ID_LABEL, Job
from framegate.core.keys import KeyGrants, KeyScope
from framegate.core.ports import IdempotencyKey, MediaSource, StoredSource
from framegate.core.registry import ServedModel, timeout_setting
from framegate.core.types import GenerationRequest


class Client(KeyGrants, frozen=True):
    """The name of an API key, and what it may do.

    ``name`` is empty where no keys exist, and for the operator; both may use every model. ``address`` is
    where the request comes from, if it comes over the network.
    """

    name: str = ""
    address: str = ""

    @property
    def identity(self) -> str:
        """What tells it from other clients: the key's name or, without keys, the address."""
        return self.name or self.address

    @classmethod
    def of(cls, name: str, grants: KeyGrants) -> Self:
        """Return the client of the key ``name``."""
        return cls(name, **{field: getattr(grants, field) for field in KeyGrants.__struct_fields__})

    def require_scope(self, scope: KeyScope) -> None:
        """Check that the key may make this kind of request.

        Raises:
            PermissionDenied: It may not.
        """
        if scope not in self.scopes:
            raise PermissionDenied(
                f"The API key {self.name!r} may not do this: it needs the scope {scope}, and has "
                f"{' and '.join(self.scopes)}."
            )

    def may_call(self, dialect: str) -> bool:
        """Return whether the key may call the dialect."""
        return not self.dialects or dialect in self.dialects

    def may_name(self, model: str) -> bool:
        """Return whether the key may use the model or alias of this name, if its plan covers it."""
        return not self.models or model in self.models

    def require_name(self, model: str) -> None:
        """Check that the key may use the model or alias of this name, if its plan covers it.

        Raises:
            ModelNotAllowed: It may not.
        """
        if not self.may_name(model):
            raise ModelNotAllowed(f"The API key {self.name!r} may not use the model {model}.")

    def require_model(self, served: ServedModel) -> None:
        """Check that the key may use the model.

        Raises:
            ModelNotAllowed: It may only use others.
            PlanRequired: Its plan does not cover the model.
        """
        self.require_name(served.name)
        if self.name and served.plan not in ("", self.plan):
            raise PlanRequired(f"The model {served.name} needs the plan {served.plan}.", plan=served.plan)


class Submission(Struct, frozen=True, kw_only=True):
    """A request for a job, as a dialect hands it to `JobService.submit`.

    Attributes:
        dialect: The dialect's name.
        request: What to generate. Its media are sources as the client gave them; they are fetched, checked
            and stored while the job is submitted.
        client: Whose job it is.
        job_id: The job's id, where the client has chosen one; see `framegate.core.jobs.job_id_for`.
        prompt_optional: Accept an empty prompt if there is an image or a video to start from.
        mask_ignores_alpha: In a mask the white part is redrawn, even if other parts are transparent.
        request_id: The HTTP request's id, for the logs.
        labels: Notes that the dialect keeps with the job.
        remix_of: The share id of a finished video to start from. The service then chooses the task.
        remixes_video: Start from ``request.video`` in the same way.
        inherit_source_settings: Take the size, frame rate and length that the request leaves open from the
            video that it starts from.
        characters: Usernames that the prompt mentions. The first that is a character of this client becomes
            the image, unless the request has an input already.
        idempotency: How a repeated submission is recognised; it is answered with the first one's job.
        collection: The list in which `JobService.page` finds the job.
        webhook_url: A URL to notify when the video is finished, beside the server's own.
        priority: Added to the client's priority; higher ones are served first.
    """

    dialect: str
    request: GenerationRequest[MediaSource]
    client: Client = Client()
    job_id: str = ""
    prompt_optional: bool = False
    mask_ignores_alpha: bool = False
    request_id: str = ""
    labels: Mapping[str, str] = {}
    remix_of: str = ""
    remixes_video: bool = False
    inherit_source_settings: bool = False
    characters: tuple[str, ...] = ()
    idempotency: IdempotencyKey | None = None
    collection: str = ""
    webhook_url: str = ""
    priority: int = 0

    @property
    def has_inputs(self) -> bool:
        """Whether files have to be fetched, decoded or copied for it."""
        return bool(self.request.media or self.remix_of or self.characters)


def resubmission(
    job: Job,
    client: Client | None,
    *,
    plan: str,
    request_id: str,
    idempotency: IdempotencyKey | None,
    webhook_url: str,
) -> Submission:
    """Return the submission that makes ``job`` again, for ``client`` or, without one, for its owner.

    What stands for the owner then has ``plan`` and the limits that ``job`` had. A client's job has no higher
    priority than the client's own, as its operator may have lowered that since.
    """
    media = job.request.media
    values: dict[str, Any] = {
        name: StoredSource(media[name]) if name in media else getattr(job.request, name)
        for name in job.request.__struct_fields__
    }
    submitter = client or Client(
        job.owner,
        plan=plan,
        priority=job.priority,
        max_running=job.running_limits.get(f"key:{job.owner}", 0),
        # Otherwise it came from the model's setting, which may have changed since.
        timeout=0.0 if job.timeout_setting == timeout_setting(job.served_by) else job.timeout,
    )
    return Submission(
        dialect=job.dialect,
        request=GenerationRequest[MediaSource](**values),
        client=submitter,
        prompt_optional=True,
        request_id=request_id,
        labels={name: label for name, label in job.labels.items() if name != CLIENT_ID_LABEL},
        idempotency=idempotency,
        collection=job.collection,
        webhook_url=webhook_url,
        priority=min(0, job.priority - submitter.priority),
    )
