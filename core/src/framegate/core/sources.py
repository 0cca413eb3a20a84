"""Where a job's inputs come from: what the client sends, a video that is remixed, a character."""

import asyncio
import uuid
from collections.abc import Mapping

from msgspec.structs import replace

from framegate.core.characters import Character
from framegate.core.errors import ArtifactGone, InvalidRequest, NotFound
from framegate.core.jobs import Job
from framegate.core.models import ModelSpec, fit
from framegate.core.ports import ArtifactStore, MediaIngest, MediaSource
from framegate.core.threads import in_thread
from framegate.core.types import GenerationRequest, MediaKind, MediaRef, Task

_KINDS = {
    "image": MediaKind.IMAGE,
    "mask": MediaKind.IMAGE,
    "last_image": MediaKind.IMAGE,
    "video": MediaKind.VIDEO,
}
_FROM_PICTURE = {Task.TEXT_TO_IMAGE: Task.IMAGE_TO_IMAGE, Task.TEXT_TO_VIDEO: Task.IMAGE_TO_VIDEO}
CLEANED_UP = "The source video was cleaned up: its retention time is over."


def as_remix(spec: ModelSpec, request: GenerationRequest) -> GenerationRequest:
    """``request`` as a task from a source video: video-to-video where the model makes its whole length that
    way, else image-to-video from its first frame. An extension goes on from its last one."""
    if request.extends_video:
        return replace(request, task=Task.IMAGE_TO_VIDEO)
    whole = replace(request, task=Task.VIDEO_TO_VIDEO)
    able = Task.VIDEO_TO_VIDEO in spec.tasks and not request.storyboard
    if able and fit(spec, whole).num_frames <= spec.frames.max:
        return whole
    return replace(request, task=Task.IMAGE_TO_VIDEO)


def inherit_from(video: MediaRef, request: GenerationRequest) -> GenerationRequest:
    """``request`` with what it leaves open as ``video`` has it: size, frame rate, and but for an extension
    the length."""
    width, height = request.width or video.width, request.height or video.height
    request = replace(request, width=width, height=height, fps=request.fps or video.fps)
    if request.extends_video or request.num_frames is not None or request.duration is not None:
        return request
    return replace(request, duration=video.duration)


def video_of(job: Job) -> MediaRef:
    """The video that a job has made."""
    made = job.artifacts[0]
    return MediaRef(MediaKind.VIDEO, made.key, made.width, made.height, made.num_frames, made.fps)


def from_picture(request: GenerationRequest) -> GenerationRequest:
    """``request`` as the task that starts from a picture."""
    return replace(request, task=_FROM_PICTURE.get(request.task, request.task))


class JobSources:
    """The inputs of one job that is being made, stored one by one. Each is the job's own file: nobody else
    removes it."""

    def __init__(self, media: MediaIngest, artifacts: ArtifactStore) -> None:
        self._media = media
        self._artifacts = artifacts
        self._taken: dict[str, MediaRef] = {}

    @property
    def taken(self) -> Mapping[str, MediaRef]:
        """By the request's fields."""
        return self._taken

    async def take(self, media: Mapping[str, MediaSource]) -> None:
        """Raises:
        InvalidMedia: with the field as its ``param``.
        """
        for name, source in media.items():
            try:
                self._taken[name] = await self._media.take(source, _KINDS[name])
            except InvalidRequest as error:
                error.param = error.param or name
                raise

    async def take_video(self, source: MediaSource) -> MediaRef:
        """A source video that the client sends.

        Raises:
            InvalidMedia: as for `take`.
        """
        await self.take({"video": source})
        return self._taken["video"]

    async def first_frame_instead(self) -> None:
        """Keep of the source video only the picture that it begins with."""
        video = self._taken["video"]
        self._taken["image"] = await self._media.take_frame(video, 0.0)
        del self._taken["video"]
        self._media.discard(video)

    async def take_remixed(self, source: Job, request: GenerationRequest) -> None:
        """The video of ``source``, or where ``request`` starts from a picture, its first frame.

        Raises:
            ArtifactGone: it was removed a moment ago.
        """
        video = video_of(source)
        try:
            if request.extends_video or request.task == Task.VIDEO_TO_VIDEO:
                self._taken["video"] = await self._copy(video)
            elif "image" not in self._taken:
                self._taken["image"] = await self._media.take_frame(video, 0.0)
        except NotFound:
            raise ArtifactGone(CLEANED_UP, param="remix_target_id") from None

    async def take_character(self, character: Character) -> None:
        """Raises:
        NotFound: it was removed a moment ago.
        """
        self._taken["image"] = await self._copy(character.reference)

    async def discard(self) -> None:
        """No job came to use them."""
        await asyncio.shield(asyncio.to_thread(self._discard_all))

    def _discard_all(self) -> None:
        for ref in self._taken.values():
            self._media.discard(ref)

    async def _copy(self, ref: MediaRef) -> MediaRef:
        """The stored file under a key of this job's own."""
        copy = replace(ref, key=f"inputs/{uuid.uuid4().hex}")
        return await in_thread(lambda: self._made(ref.key, copy), self._media.discard)

    def _made(self, key: str, copy: MediaRef) -> MediaRef:
        self._artifacts.copy(key, copy.key)
        return copy
