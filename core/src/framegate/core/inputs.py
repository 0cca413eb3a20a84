"""The second step of a submission: its inputs are fetched, checked and stored."""

import uuid

from msgspec.structs import replace

from framegate.core.admission import AdmittedSubmission
from framegate.core.characters import Character
from framegate.core.concurrency import FILE_THREADS, in_thread, to_its_end
from framegate.core.errors import ArtifactGone, InvalidRequest, NotFound
from framegate.core.fitting import FittedRequest, fit
from framegate.core.jobs import Job
from framegate.core.models import ModelSpec
from framegate.core.ports import (
    ArtifactStore,
    CollageSource,
    FileSource,
    MediaIngest,
    MediaSource,
    StoredSource,
)
from framegate.core.remixing import fit_remix, inherit_from, result_video
from framegate.core.results import FILE_GONE, SOURCE_GONE
from framegate.core.types import MEDIA_KINDS, GenerationRequest, MediaRef, Task


class JobInputs:
    """The inputs of one job while it is submitted, stored one by one.

    Each is a file of the job's own, which nobody else removes. `discard` them if no job comes to use them.
    ``owner`` is the client whose share of the server their decoding takes.
    """

    def __init__(self, media: MediaIngest, artifacts: ArtifactStore, *, owner: str) -> None:
        self._owner = owner
        self._media = media
        self._artifacts = artifacts
        self._stored: dict[str, MediaRef] = {}  # by the request's fields

    async def collect(self, admitted: AdmittedSubmission) -> FittedRequest:
        """Store every input, and return the request with all of them, fitted again if there are any.

        Raises:
            InvalidMedia: An input can't be fetched or read; ``param`` is its field.
            InvalidRequest: An input is missing, or the request does not fit the model with its inputs.
            NotFound, ArtifactGone: The video to be remixed, the character or a stored input was removed.
        """
        submission, spec = admitted.submission, admitted.served.spec
        request = admitted.fitted.requested
        for field, source in submission.request.media.items():
            await self._ingest(field, source, mask_ignores_alpha=submission.mask_ignores_alpha)
        if admitted.remixed:
            await self._use_remixed(admitted.remixed, request)
        if admitted.character:
            await self._use_character(admitted.character)
        if submission.remixes_video and "video" in self._stored:
            request = await self._remix_video(
                spec, request, inherit_settings=submission.inherit_source_settings
            )
        request = replace(request, **self._stored)
        _check_inputs(request)
        return admitted.fitted if request == admitted.fitted.requested else fit(spec, request)

    async def discard(self) -> None:
        """Remove what was stored: no job came to use it."""
        if self._stored:
            await to_its_end(FILE_THREADS.run(self._discard_all))

    async def _ingest(self, field: str, source: MediaSource, *, mask_ignores_alpha: bool) -> None:
        try:
            if isinstance(source, CollageSource):
                await self._ingest_collage(source)
            elif isinstance(source, StoredSource):
                self._stored[field] = await self._copy_stored(source.ref, field)
            elif field == "mask":
                self._stored[field] = await self._ingest_mask(source, ignore_alpha=mask_ignores_alpha)
            else:
                self._stored[field] = await self._media.ingest(source, MEDIA_KINDS[field], owner=self._owner)
        except InvalidRequest as error:
            error.param = error.param or field
            raise

    async def _ingest_collage(self, collage: CollageSource) -> None:
        image, mask = await self._media.ingest_collage(collage, owner=self._owner)
        self._stored["image"] = image
        if mask is not None:
            self._stored["mask"] = mask

    async def _ingest_mask(self, source: FileSource, *, ignore_alpha: bool) -> MediaRef:
        image = self._stored.get("image")
        if image is None:
            raise InvalidRequest("A mask needs the image that it belongs to, but none is given.")
        return await self._media.ingest_mask(source, image, owner=self._owner, ignore_alpha=ignore_alpha)

    async def _use_remixed(self, source: Job, request: GenerationRequest) -> None:
        """Copy the video of ``source``, or take its first frame where ``request`` starts from an image."""
        video = result_video(source)
        try:
            if request.extends_video or request.task == Task.VIDEO_TO_VIDEO:
                self._stored["video"] = await self._copy(video)
            elif "image" not in self._stored:
                self._stored["image"] = await self._media.ingest_frame(video, 0.0, owner=self._owner)
        except NotFound:
            raise ArtifactGone(SOURCE_GONE, param="remix_of") from None

    async def _use_character(self, character: Character) -> None:
        self._stored["image"] = await self._copy(character.reference)

    async def _remix_video(
        self, spec: ModelSpec, request: GenerationRequest, *, inherit_settings: bool
    ) -> GenerationRequest:
        """Adapt the request to the client's video, and keep only its first frame where that is enough."""
        video = self._stored["video"]
        if inherit_settings:
            request = inherit_from(video, request)
        request = fit_remix(spec, request).requested
        if request.task == Task.IMAGE_TO_VIDEO and not request.extends_video:
            self._stored["image"] = await self._media.ingest_frame(video, 0.0, owner=self._owner)
            del self._stored["video"]
            await to_its_end(FILE_THREADS.run(self._media.discard, video))
        return request

    async def _copy_stored(self, ref: MediaRef, field: str) -> MediaRef:
        try:
            return await self._copy(ref)
        except NotFound:
            raise ArtifactGone(FILE_GONE, param=field) from None

    async def _copy(self, ref: MediaRef) -> MediaRef:
        """Copy a stored file to a key of this job's own."""
        copy = replace(ref, key=f"inputs/{uuid.uuid4().hex}")

        def make() -> MediaRef:
            self._artifacts.copy(ref.key, copy.key)
            return copy

        return await in_thread(make, self._media.discard)

    def _discard_all(self) -> None:
        for ref in self._stored.values():
            self._media.discard(ref)


def _check_inputs(request: GenerationRequest) -> None:
    if (request.task == Task.VIDEO_TO_VIDEO or request.extends_video) and request.video is None:
        raise InvalidRequest(f"{request.task} needs an input video.", param="video")
    starts_from_image = request.task in (Task.IMAGE_TO_IMAGE, Task.IMAGE_TO_VIDEO)
    if starts_from_image and not request.extends_video and request.image is None:
        raise InvalidRequest(f"{request.task} needs an input image.", param="image")
