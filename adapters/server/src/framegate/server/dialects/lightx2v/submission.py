"""Submit lightx2v's tasks."""

import os
from collections.abc import Iterable, Mapping

from litestar.datastructures import UploadFile
from msgspec import Struct
from msgspec.structs import asdict, replace

from framegate.core.jobs import Job
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.service import JobService
from framegate.core.types import GenerationRequest, MediaKind, Task
from framegate.media.network.upload import UploadError, UrlUploader
from framegate.server.dialects.lightx2v.changes import seed_label
from framegate.server.dialects.lightx2v.fields import (
    CommonFields,
    ImageFields,
    ImageForm,
    VideoFields,
    VideoForm,
)
from framegate.server.dialects.lightx2v.input_folder import InputFolder
from framegate.server.dialects.lightx2v.refusals import SubmissionRules, conflicts
from framegate.server.dialects.lightx2v.requests import given, image_request, video_request
from framegate.server.dialects.lightx2v.result_names import RESULT_NAME, result_name
from framegate.server.dialects.lightx2v.vocabulary import (
    VOCABULARY,
    Vocabulary,
    VocabularySetting,
    has_server_fields,
    vocabulary_of,
)
from framegate.server.errors.field_errors import FieldError, InvalidFields
from framegate.server.requests.bodies import HTTPRequest, read_form, read_json, upload_bytes
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.paths import has_trailing_slash

_IMAGE_FILE, _LAST_FRAME_FILE, _AUDIO_FILE = "image_file", "last_frame_file", "audio_file"
VIDEO_FILES = {_IMAGE_FILE: True, _LAST_FRAME_FILE: False, _AUDIO_FILE: False}
IMAGE_FILES = {_IMAGE_FILE: False}


class SubmissionSettings(Struct, frozen=True, kw_only=True):
    """The config of tasks: the served models, the vocabulary of states, and the folder of inputs.

    ``max_input`` is the largest input file in bytes; ``uploader`` takes results to presigned URLs.
    """

    model: str
    image_model: str
    vocabulary: VocabularySetting
    inputs: InputFolder
    max_input: int
    uploader: UrlUploader


class TaskSubmitter:
    """Read the submission of one request, and submit its task.

    ``server_path`` tells, where a method has it, that only the real server has the request's path.
    """

    def __init__(
        self, request: HTTPRequest, jobs: ClientJobs, service: JobService, settings: SubmissionSettings
    ) -> None:
        self._request = request
        self._jobs = jobs
        self._service = service
        self._settings = settings

    async def submit_video(self, *, server_path: bool = False) -> Job:
        """Submit the video that a JSON body describes."""
        rules = self._rules(self._settings.model, MediaKind.VIDEO)
        fields = await read_json(self._request, VideoFields, rules, lax=True)
        return await self._submit_video(fields, await self._named_media(fields), server_path=server_path)

    async def submit_video_form(self) -> Job:
        """Submit the video that a form describes."""
        rules = self._rules(self._settings.model, MediaKind.VIDEO)
        fields, files = await read_form(self._request, VideoForm, VIDEO_FILES, rules)
        files = {name: file for name, file in files.items() if not _is_empty(file)}
        if _AUDIO_FILE in files:
            raise InvalidFields([rules.audio_file()])
        media = {**await self._named_media(fields), **await self._uploaded_media(files)}
        return await self._submit_video(fields, media, server_path=_LAST_FRAME_FILE in files)

    async def submit_image(self) -> Job:
        """Submit the image that a JSON body describes."""
        rules = self._rules(self._settings.image_model, MediaKind.IMAGE)
        fields = await read_json(self._request, ImageFields, rules, lax=True)
        return await self._submit_image(fields, await self._named_media(fields))

    async def submit_image_for_upload(self) -> tuple[Job, str]:
        """Submit the image that a JSON body describes, and return where to upload it, empty for nowhere."""
        rules = self._rules(self._settings.image_model, MediaKind.IMAGE, uploads=True)
        fields = await read_json(self._request, ImageFields, rules, lax=True)
        url: str = (given(fields.presigned_url) or "").strip()
        if url:
            try:
                await self._settings.uploader.check(url, owner=self._jobs.client.name)
            except UploadError as error:
                message = f"Nothing can be uploaded to this URL: {error}"
                raise InvalidFields([FieldError(("presigned_url",), "value_error", message)]) from None
        return await self._submit_image(fields, await self._named_media(fields)), url

    async def submit_image_form(self) -> Job:
        """Submit the image that a form describes."""
        rules = self._rules(self._settings.image_model, MediaKind.IMAGE)
        fields, files = await read_form(self._request, ImageForm, IMAGE_FILES, rules)
        files = {name: file for name, file in files.items() if not _is_empty(file)}
        media = {**await self._named_media(fields), **await self._uploaded_media(files)}
        return await self._submit_image(fields, media)

    def _rules(self, model: str, kind: MediaKind, *, uploads: bool = False) -> SubmissionRules:
        served = self._service.registry.resolve(model)
        shown = model if served.spec.id == model else f"{model} ({served.spec.id})"
        return SubmissionRules(shown, kind, uploads)

    async def _submit_video(
        self, fields: VideoFields, media: Mapping[str, MediaSource], *, server_path: bool
    ) -> Job:
        task = Task.TEXT_TO_VIDEO
        if "image" in media:
            task = Task.IMAGE_TO_VIDEO
        elif "video" in media:
            task = Task.VIDEO_TO_VIDEO
        # Only the real server has paths that end in a slash.
        server_path = server_path or has_trailing_slash(self._request.scope)
        vocabulary = vocabulary_of(
            self._settings.vocabulary, server_client=server_path or has_server_fields(fields)
        )
        generation_request = video_request(self._settings.model, fields, vocabulary, task)
        return await self._submit(fields, generation_request, media, vocabulary)

    async def _submit_image(self, fields: ImageFields, media: Mapping[str, MediaSource]) -> Job:
        task = Task.IMAGE_TO_IMAGE if "image" in media else Task.TEXT_TO_IMAGE
        generation_request = image_request(self._settings.image_model, fields, task)
        # The document has no images, so they always use the real server's words.
        vocabulary = vocabulary_of(self._settings.vocabulary, server_client=True)
        return await self._submit(fields, generation_request, media, vocabulary)

    async def _submit(
        self,
        fields: CommonFields,
        generation_request: GenerationRequest[MediaSource],
        media: Mapping[str, MediaSource],
        vocabulary: Vocabulary,
    ) -> Job:
        _refuse(conflicts(asdict(fields), media.keys()))
        labels = {VOCABULARY: vocabulary.value, **seed_label(fields.seed, generation_request.seed)}
        if name := given(fields.save_result_path):
            labels[RESULT_NAME] = result_name(name, generation_request.task.output)
        return await self._jobs.submit(
            replace(generation_request, **media),
            client_id=given(fields.task_id) or "",
            labels=labels,
            prompt_optional=True,
            mask_ignores_alpha=True,
        )

    async def _named_media(self, fields: CommonFields) -> dict[str, MediaSource]:
        """Return the inputs that a body names.

        Raises:
            InvalidMedia: A path names no readable file.
        """
        texts = {
            "image": fields.image_path,
            "mask": given(fields.image_mask_path),
            "last_image": given(fields.last_frame_path),
        }
        if isinstance(fields, VideoFields):
            texts["video"] = given(fields.video_path)
        inputs = self._settings.inputs
        return {
            name: await inputs.source(text, name) for name, text in texts.items() if text and text.strip()
        }

    async def _uploaded_media(self, files: Mapping[str, UploadFile]) -> dict[str, MediaSource]:
        """Return the inputs of a form's files.

        Raises:
            InvalidMedia: A file is too large.
        """
        names = {_IMAGE_FILE: "image", _LAST_FRAME_FILE: "last_image"}
        return {
            names[file]: BytesSource(await upload_bytes(upload, names[file], self._settings.max_input))
            for file, upload in files.items()
        }


def _refuse(errors: Iterable[FieldError]) -> None:
    if found := list(errors):
        raise InvalidFields(found)


def _is_empty(upload: UploadFile) -> bool:
    """Return whether it is what browsers send for a file that was not chosen."""
    size = upload.file.seek(0, os.SEEK_END)
    upload.file.seek(0)
    return not upload.filename and not size
