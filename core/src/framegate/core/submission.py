"""Submissions, and the clients that they come from."""

from collections.abc import Mapping

from msgspec import Struct

from framegate.core.ports import IdempotencyKey, MediaSource
from framegate.core.registry import ServedModel
from framegate.core.types import GenerationRequest


class Client(Struct, frozen=True):
    """The name, plan, limits and priority of an API key.

    A limit of 0 means no limit. ``name`` is empty where no keys are configured, and for the operator; both
    may use every model.
    """

    name: str = ""
    plan: str = ""
    max_queued: int = 0
    max_running: int = 0
    max_active: int = 0
    priority: int = 0

    def may_use(self, served: ServedModel) -> bool:
        """Return whether the key's plan covers the model."""
        return not self.name or served.plan in ("", self.plan)


class Submission(Struct, frozen=True, kw_only=True):
    """A request for a job, as a dialect hands it to `JobService.submit`.

    Attributes:
        dialect: The dialect's name.
        request: What to generate. Its media are sources as the client gave them; they are fetched, checked
            and stored while the job is submitted.
        client: Whose job it is.
        job_id: The client's own id for the job, where the dialect allows one.
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
