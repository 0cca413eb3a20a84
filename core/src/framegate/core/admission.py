"""The first step of a submission: everything that can be decided before its inputs are fetched."""

from collections.abc import Mapping

from msgspec import Struct

from framegate.core.availability import WorkerAvailability
from framegate.core.character_service import CharacterService
from framegate.core.characters import Character
from framegate.core.errors import InvalidRequest
from framegate.core.fitting import FittedRequest, fit
from framegate.core.jobs import CLIENT_ID_LABEL, Job
from framegate.core.ports import JobStore, Limits, MediaSource
from framegate.core.registry import Registry, ServedModel
from framegate.core.remixing import fit_remix, inherit_from, result_video, start_from_image
from framegate.core.results import ResultAccess
from framegate.core.styles import Style, find_style
from framegate.core.submission import Client, Submission
from framegate.core.types import GenerationRequest
from framegate.core.webhooks import WebhookPolicy

MAX_PROMPT = 100_000
"""Characters of a prompt."""


class CheckedSubmission(Struct, frozen=True):
    """A submission whose request is complete, with the model that may serve it and whom to notify."""

    submission: Submission
    served: ServedModel
    webhooks: tuple[str, ...]


class AdmittedSubmission(Struct, frozen=True, kw_only=True):
    """A submission that may become a job.

    ``fitted`` is its request without the media, which are not stored yet. Besides them the job may start from
    the video that the job ``remixed`` made, or from the image of ``character``.
    """

    submission: Submission
    served: ServedModel
    fitted: FittedRequest
    style: Style | None
    limits: Limits
    webhooks: tuple[str, ...]
    remixed: Job | None
    character: Character | None


class Admission:
    """Decide which submissions are admitted. ``max_queued`` is how many jobs may wait (0: any number)."""

    def __init__(
        self,
        *,
        registry: Registry,
        store: JobStore,
        characters: CharacterService,
        results: ResultAccess,
        styles: Mapping[str, Style],
        webhooks: WebhookPolicy,
        availability: WorkerAvailability,
        max_queued: int,
    ) -> None:
        self._registry = registry
        self._store = store
        self._characters = characters
        self._results = results
        self._styles = styles
        self._webhooks = webhooks
        self._availability = availability
        self._max_queued = max_queued

    def check_request(self, submission: Submission) -> CheckedSubmission:
        """Check what can be told from the submission itself.

        Raises:
            ModelNotFound, ModelNotAllowed, PlanRequired, InvalidRequest: It can't be served.
        """
        served = self._registry.resolve(submission.request.model)
        submission.client.require_model(served)
        _check_texts(submission.request, prompt_optional=submission.prompt_optional)
        return CheckedSubmission(submission, served, self._webhooks.addresses(submission.webhook_url))

    async def admit(self, checked: CheckedSubmission) -> AdmittedSubmission:
        """Check everything else that needs no input.

        Raises:
            InvalidRequest, NoWorker: It can't be served.
            NotFound, ArtifactGone: There is no such video to remix, or it was removed.
        """
        submission, served = checked.submission, checked.served
        remixed = await self._results.find_shared(submission.remix_of) if submission.remix_of else None
        character = await self._find_character(submission)
        fitted = _fit(submission, served, remixed, character)
        style = find_style(self._styles, fitted.request.style)
        await self._availability.check(served.spec.id, served.name)
        return AdmittedSubmission(
            submission=submission,
            served=served,
            fitted=fitted,
            style=style,
            limits=self._limits(submission.client),
            webhooks=checked.webhooks,
            remixed=remixed,
            character=character,
        )

    async def find_earlier(self, submission: Submission) -> Job | None:
        """Return the earlier job that this submission repeats, if there is one.

        Raises:
            JobExists, IdempotencyMismatch, QueueFull, KeyLimitReached: As `JobStore.check_admission` says.
        """
        client = submission.client
        return await self._store.check_admission(
            submission.job_id,
            client.name,
            limits=self._limits(client),
            idempotency=submission.idempotency,
            client_id=submission.labels.get(CLIENT_ID_LABEL, ""),
            dialect=submission.dialect,
        )

    def _limits(self, client: Client) -> Limits:
        return Limits(
            max_queued=self._max_queued,
            owner_max_queued=client.max_queued or 0,
            owner_max_active=client.max_active,
            owner_max_stored=client.max_stored_bytes or 0,
            owner_max_records=client.max_record_bytes or 0,
            owner_daily_gpu_seconds=client.daily_gpu_seconds or 0,
        )

    async def _find_character(self, submission: Submission) -> Character | None:
        if submission.remix_of or submission.request.media:
            return None
        return await self._characters.first_of(submission.characters, submission.client.name)


def _fit(
    submission: Submission, served: ServedModel, remixed: Job | None, character: Character | None
) -> FittedRequest:
    request = submission.request.without_media()
    if remixed and submission.inherit_source_settings:
        request = inherit_from(result_video(remixed), request)
    if remixed or submission.remixes_video:
        return fit_remix(served.spec, request)
    return fit(served.spec, start_from_image(request) if character else request)


def _check_texts(request: GenerationRequest[MediaSource], *, prompt_optional: bool) -> None:
    if not request.prompt.strip() and not (prompt_optional and request.media):
        raise InvalidRequest("The prompt is empty; describe what to show.", param="prompt")
    for number, shot in enumerate(request.storyboard, start=1):
        if not shot.prompt.strip():
            raise InvalidRequest(
                f"Shot {number} of the storyboard has an empty prompt; describe what it shows.",
                param="prompt",
            )
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name) or "")
        if length > MAX_PROMPT:
            raise InvalidRequest(
                f"The {name} has {length:,} characters; at most {MAX_PROMPT:,} are accepted.", param=name
            )
    if request.seed is not None and not 0 <= request.seed < 2**63:
        raise InvalidRequest(f"The seed {request.seed} is not within 0 … 2^63-1.", param="seed")
