"""Handle sora2api's requests: submit the job, build the response."""

from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import structlog
from litestar import Response

from framegate.core.characters import Character
from framegate.core.errors import InvalidRequest, ModelNotFound, NotFound, NoWorker, PlanRequired
from framegate.core.jobs import Job
from framegate.core.ports import MediaSource
from framegate.core.registry import ServedModel
from framegate.core.submission import Client
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.server.auth.keys import client_of
from framegate.server.dialect import DialectContext
from framegate.server.dialects.openai.chat.answers import (
    Events,
    Progress,
    Result,
    StreamUsage,
    answer,
)
from framegate.server.dialects.openai.chat.job_events import BEGINS, OnDisconnect, job_events
from framegate.server.dialects.openai.chat.parts import media_input
from framegate.server.dialects.openai.chat.schemas import ChatRequest
from framegate.server.dialects.openai.fields import require_readable
from framegate.server.dialects.sora2api.prompts import (
    Prompt,
    check_length,
    find_share_id,
    read_prompt,
)
from framegate.server.dialects.sora2api.requests import (
    ParsedRequest,
    parse_timestamps,
    parsed_chat_request,
    parsed_feature_request,
    require,
)
from framegate.server.dialects.sora2api.schemas import (
    Accepted,
    CharacterDeleted,
    ImageGenerate,
    VideoGenerate,
)
from framegate.server.dialects.sora2api.tasks import content_of, task_id
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import ResultFiles
from framegate.server.responses.waiting import while_connected

log = structlog.get_logger(__name__)

USAGE = StreamUsage.INCOMPLETE
"""What the document's streams say about usage."""

_ALL_TOKENS = "All tokens are either disabled, cooling down"
_NO_TOKENS = {
    MediaKind.VIDEO: f"No available tokens for video generation. {_ALL_TOKENS}, Sora2 quota exhausted, don't "
    "support Sora2, or expired.",
    MediaKind.IMAGE: f"No available tokens for image generation. {_ALL_TOKENS}, or expired.",
}


class FeatureHandlers:
    """Handle the requests of the feature endpoints and the chat.

    ``claims`` returns whether the chat handles a model. ``max_storyboard`` is in seconds.
    """

    def __init__(
        self,
        context: DialectContext,
        *,
        files: ResultFiles,
        claims: Callable[[ServedModel], bool],
        on_disconnect: OnDisconnect,
        max_storyboard: float,
    ) -> None:
        self._context = context
        self._services = context.services
        self.files = files
        self._claims = claims
        self._on_disconnect: OnDisconnect = on_disconnect
        self._max_storyboard = max_storyboard

    def chat_model(self, name: str) -> ServedModel:
        """Return a model that the chat handles.

        Raises:
            InvalidRequest: This dialect has no such model.
        """
        served = self._services.jobs.registry.names.get(name)
        if served is None or not self._claims(served):
            raise _invalid_model(name)
        return served

    def model_for(self, name: str, kind: MediaKind) -> ServedModel:
        """Return a model that makes results of this kind.

        Raises:
            InvalidRequest: There is no such model, or it makes something else.
        """
        try:
            served = self._services.jobs.registry.resolve(name)
        except ModelNotFound:
            raise _invalid_model(name) from None
        if not served.makes(kind):
            article = "an" if kind == MediaKind.IMAGE else "a"
            raise InvalidRequest(f"Model {name} is not {article} {kind} model", param="model")
        return served

    async def run(
        self, request: HTTPRequest, task_type: str, fields: ImageGenerate | VideoGenerate
    ) -> Response[Any]:
        """Submit the request of a feature endpoint, and respond."""
        parsed = parsed_feature_request(task_type, fields)
        return await self.generate(
            request, parsed, stream=bool(fields.stream), async_mode=bool(fields.async_mode)
        )

    async def chat(
        self, request: HTTPRequest, body: ChatRequest, served: ServedModel, usage: StreamUsage
    ) -> Response[Any]:
        """Submit the request of a chat, and respond; a video without a prompt creates a character."""
        parsed = parsed_chat_request(body, served)
        stream = bool(body.stream)
        if parsed.video is not None and not parsed.prompt.strip():
            return await self.create_character(
                request, parsed.video, parsed.timestamps, model=parsed.model, stream=stream, usage=usage
            )
        return await self.generate(request, parsed, stream=stream, usage=usage)

    async def generate(
        self,
        request: HTTPRequest,
        parsed: ParsedRequest,
        *,
        stream: bool,
        async_mode: bool = False,
        usage: StreamUsage = USAGE,
    ) -> Response[Any]:
        """Submit a job and respond with its task, with a stream, or with one completion."""
        served = self.model_for(parsed.model, parsed.kind)
        _require_model(client_of(request.scope), served)
        prompt = self._read(parsed)
        character: Character | None = None
        if parsed.video is None:
            job = await self._submit(request, parsed, prompt, served)
        else:
            character = await self._create(request, parsed.video, parsed.timestamps, temporary=True)
            try:
                job = await self._submit(request, parsed, prompt, served, character)
            finally:
                # The job has its own copy of the character's image.
                await self._services.characters.delete(character.username)
        if async_mode:
            message = f"The task was accepted; poll GET /v1/tasks/{task_id(job)} for its result."
            return Response(Accepted(task_id=task_id(job), task_type=parsed.task_type, message=message))

        async def content(done: Job) -> str:
            return content_of(done, await self.files.links(request, done))

        events = job_events(
            self._services.jobs,
            job,
            opening=_opening(parsed, prompt, character),
            content=content,
            on_disconnect=self._on_disconnect,
        )
        events = _in_own_words(events, parsed.kind)
        return await answer(request, parsed.model, events, stream=stream, usage=usage)

    async def create_character(
        self,
        request: HTTPRequest,
        video: str,
        timestamps: str,
        *,
        model: str,
        stream: bool,
        usage: StreamUsage = USAGE,
    ) -> Response[Any]:
        """Create a character from a video, and respond with its name."""
        character = await self._create(request, video, timestamps, temporary=False)
        return await answer(request, model, _introduced(character), stream=stream, usage=usage)

    async def delete_character(self, request: HTTPRequest, username: str) -> CharacterDeleted:
        """Remove one of the client's own characters.

        Raises:
            NotFound: There is none by this name, or it is another key's.
        """
        name = username.removeprefix("@")
        await self._services.characters.delete(name, client_of(request.scope).name)
        return CharacterDeleted(username=name)

    def _read(self, parsed: ParsedRequest) -> Prompt:
        """Read the prompt, and refuse blank fields and a storyboard without shots or with too long ones."""
        require_readable(parsed.prompt, "prompt")
        for field in ("prompt", "image", "video", "remix_target_id"):
            require(getattr(parsed, field), field)
        prompt = read_prompt(parsed.prompt, self._services.jobs.styles, shots=parsed.kind == MediaKind.VIDEO)
        require(prompt.text, "prompt")
        if parsed.needs_storyboard and not prompt.storyboard:
            raise InvalidRequest(
                "prompt contains no shots; write it as [5.0s]first shot [5.0s]second shot.", param="prompt"
            )
        check_length(prompt.storyboard, self._max_storyboard)
        return prompt

    async def _create(
        self, request: HTTPRequest, video: str, timestamps: str, *, temporary: bool
    ) -> Character:
        require(video, "video")
        start, end = parse_timestamps(timestamps)
        creation = self._services.characters.create(
            media_input(video, "video"),
            start=start,
            end=end,
            client=client_of(request.scope),
            temporary=temporary,
        )
        try:
            return await while_connected(request.receive, creation)
        except InvalidRequest as error:
            error.param = error.param or "video"
            raise

    async def _submit(
        self,
        request: HTTPRequest,
        parsed: ParsedRequest,
        prompt: Prompt,
        served: ServedModel,
        character: Character | None = None,
    ) -> Job:
        # The name promises its size, whatever an input's; the length is the name's by default.
        defaults = served.spec.defaults
        remix = parsed.remix_target_id
        generation_request = GenerationRequest[MediaSource](
            model=parsed.model,
            task=_task(parsed),
            prompt=prompt.text,
            width=defaults.width,
            height=defaults.height,
            seed=parsed.seed,
            style=(parsed.style or "").lower() or prompt.style or None,
            storyboard=prompt.storyboard,
            image=media_input(parsed.image, "image") if parsed.image else None,
        )
        try:
            return await self._context.client_jobs(request).submit(
                generation_request,
                remix_of=find_share_id(remix) or remix if remix else "",
                characters=(*((character.username,) if character else ()), *prompt.mentions),
            )
        except NoWorker as error:
            raise _no_tokens(parsed.kind, error) from error
        except NotFound as error:
            error.param = "remix_target_id" if error.param == "remix_of" else error.param
            raise


async def _in_own_words(events: Events, kind: MediaKind) -> Events:
    async with aclosing(events):
        try:
            async for event in events:
                yield event
        except NoWorker as error:
            raise _no_tokens(kind, error) from error


def _no_tokens(kind: MediaKind, error: NoWorker) -> NoWorker:
    """Return the error in the document's words, which clients compare; the real reason goes to the log."""
    log.warning("no_worker", reason=error.message)
    return NoWorker(_NO_TOKENS[kind], retry_after=error.retry_after)


def _require_model(client: Client, served: ServedModel) -> None:
    """Check that the client may use the model, before anything is done with its inputs.

    Raises:
        ModelNotAllowed, PlanRequired: It may not.
    """
    try:
        client.require_model(served)
    except PlanRequired as error:
        refusal = PlanRequired(f"No available Pro tokens. {error.message}", plan=error.plan)
        refusal.param = None
        raise refusal from error


def _invalid_model(name: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid model: {name[:100]}", param="model")


def _task(parsed: ParsedRequest) -> Task:
    if parsed.kind == MediaKind.IMAGE:
        return Task.IMAGE_TO_IMAGE if parsed.image else Task.TEXT_TO_IMAGE
    return Task.IMAGE_TO_VIDEO if parsed.image else Task.TEXT_TO_VIDEO


def _opening(parsed: ParsedRequest, prompt: Prompt, character: Character | None) -> Sequence[str]:
    texts: list[str] = []
    if parsed.image:
        texts.append("The image was received.\n")
    if character:
        texts.append(_recognised(character))
    if parsed.remix_target_id:
        texts.append("The video to be remixed was found.\n")
    if prompt.storyboard:
        texts.append(f"A storyboard of {len(prompt.storyboard)} shots was detected.\n")
    return texts


def _recognised(character: Character) -> str:
    return f"✨ 角色已识别: {character.display_name} (@{character.username})\n"


async def _introduced(character: Character) -> Events:
    yield Progress(BEGINS)
    yield Progress(_recognised(character))
    yield Result(f"角色创建成功，角色名@{character.username}")  # the document's own comma
