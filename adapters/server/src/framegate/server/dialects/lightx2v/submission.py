"""Submit lightx2v's tasks."""

from collections.abc import Mapping

from litestar.datastructures import UploadFile
from msgspec import Struct, UnsetType
from msgspec.structs import replace

from framegate.core.jobs import Job
from framegate.core.ports import BytesSource, MediaSource
from framegate.core.types import GenerationRequest, Task
from framegate.server.dialects.lightx2v.input_folder import InputFolder
from framegate.server.dialects.lightx2v.requests import (
    VOCABULARY,
    Vocabulary,
    VocabularySetting,
    image_request,
    video_request,
    vocabulary_of,
)
from framegate.server.dialects.lightx2v.result_names import RESULT_NAME, result_name
from framegate.server.dialects.lightx2v.schemas import ImageFields, ImageForm, VideoFields, VideoForm
from framegate.server.requests.bodies import HTTPRequest, upload_bytes
from framegate.server.requests.jobs import ClientJobs
from framegate.server.requests.paths import has_trailing_slash


class SubmissionSettings(Struct, frozen=True, kw_only=True):
    """The config of tasks: the served models, the vocabulary of states, and the folder of inputs.

    ``max_input`` is the largest input file in bytes.
    """

    model: str
    image_model: str
    vocabulary: VocabularySetting
    inputs: InputFolder
    max_input: int


class TaskSubmitter:
    """Submit the tasks of one request."""

    def __init__(self, request: HTTPRequest, jobs: ClientJobs, settings: SubmissionSettings) -> None:
        self._jobs = jobs
        self._settings = settings
        # Only the real server has paths that end in a slash.
        self._slash = has_trailing_slash(request.scope)

    async def submit_video(
        self, fields: VideoFields | VideoForm, media: Mapping[str, MediaSource], *, server_path: bool = False
    ) -> Job:
        """Submit a video; ``server_path`` tells whether only the real server has the request's path."""
        task = Task.TEXT_TO_VIDEO
        if "image" in media:
            task = Task.IMAGE_TO_VIDEO
        elif "video" in media:
            task = Task.VIDEO_TO_VIDEO
        vocabulary = vocabulary_of(self._settings.vocabulary, server_path=server_path or self._slash)
        generation_request = replace(video_request(self._settings.model, fields, vocabulary, task), **media)
        return await self._submit(fields, generation_request, vocabulary)

    async def submit_image(self, fields: ImageFields | ImageForm, media: Mapping[str, MediaSource]) -> Job:
        """Submit an image."""
        task = Task.IMAGE_TO_IMAGE if "image" in media else Task.TEXT_TO_IMAGE
        generation_request = replace(image_request(self._settings.image_model, fields, task), **media)
        # The document has no images, so they always use the real server's words.
        vocabulary = vocabulary_of(self._settings.vocabulary, server_path=True)
        return await self._submit(fields, generation_request, vocabulary)

    async def _submit(
        self,
        fields: VideoFields | VideoForm | ImageFields | ImageForm,
        generation_request: GenerationRequest[MediaSource],
        vocabulary: Vocabulary,
    ) -> Job:
        labels = {VOCABULARY: vocabulary.value}
        if fields.save_result_path:
            labels[RESULT_NAME] = result_name(fields.save_result_path, generation_request.task.output)
        job_id = "" if isinstance(fields.task_id, UnsetType) else fields.task_id
        return await self._jobs.submit(generation_request, job_id=job_id, labels=labels)

    async def json_media(self, fields: VideoFields | ImageFields) -> dict[str, MediaSource]:
        """Return the inputs that a JSON body names.

        Raises:
            InvalidMedia: A path names no readable file.
        """
        texts = {"image": fields.image_path, "last_image": fields.last_frame_path}
        if isinstance(fields, VideoFields):
            texts["video"] = fields.video_path
        inputs = self._settings.inputs
        return {name: await inputs.source(text, name) for name, text in texts.items() if text}

    async def form_media(self, files: Mapping[str, UploadFile]) -> dict[str, MediaSource]:
        """Return the inputs of a form.

        Raises:
            InvalidMedia: A file is too large.
        """
        names = {"image": "image_file", "last_image": "last_frame_file"}
        return {
            name: BytesSource(await upload_bytes(files[file], name, self._settings.max_input))
            for name, file in names.items()
            if file in files
        }
