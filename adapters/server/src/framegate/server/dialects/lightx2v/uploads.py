"""Upload results to the presigned URLs of lightx2v's clients."""

from framegate.core import audit
from framegate.core.concurrency import FILE_THREADS
from framegate.core.errors import ArtifactGone
from framegate.core.jobs import Job
from framegate.core.results import RESULT_GONE, ResultAccess
from framegate.media.network.upload import UploadError, UrlUploader
from framegate.server.dialects.lightx2v.schemas import Uploaded
from framegate.server.errors.error_info import UploadFailed
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.waiting import while_connected


async def upload_result(
    request: HTTPRequest, results: ResultAccess, uploader: UrlUploader, job: Job, url: str
) -> Uploaded:
    """Upload the first result of a finished job to ``url``, and return the answer.

    Raises:
        UploadFailed: It can't be uploaded; the result stays with its task.
        ArtifactGone: It was removed after its retention.
        ClientDisconnected, ServerStopping: The upload was given up.
    """
    artifact = job.artifacts[0]
    path = await results.path(artifact)
    try:
        data = await FILE_THREADS.run(path.read_bytes)
    except FileNotFoundError:
        raise ArtifactGone(RESULT_GONE) from None
    try:
        await while_connected(
            request.receive, uploader.put(url, data, artifact.content_type, owner=job.owner)
        )
    except UploadError as error:
        raise UploadFailed(
            f"Failed to upload sync result to presigned URL: {error}. The image is kept as the result of "
            f"task {job.client_id}."
        ) from None
    audit.record("result_downloaded", job_id=job.id, delivery="upload", bytes=len(data))
    return Uploaded(task_id=job.client_id, presigned_url=url)
