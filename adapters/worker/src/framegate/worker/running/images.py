"""Make the images of a job."""

from contextlib import suppress
from pathlib import Path

from PIL import Image

from framegate.core.backend import Backend, FrameStream
from framegate.core.types import MediaKind, Shot
from framegate.media.images.masks import MaskedImage
from framegate.media.video.encode import encode_png
from framegate.worker.running.attempt import JobAttempt, ResultFile
from framegate.worker.running.frame_count import require_frame_count


def make_images(attempt: JobAttempt, backend: Backend) -> list[ResultFile]:
    """Run the job's only shot and return its images, with what its mask keeps of the input.

    Raises:
        JobCancelled: As for `raise_if_stopped`.
        GenerationError: The backend failed, or made another number of images than planned.
    """
    shot = attempt.job.shots[0]
    context = attempt.context(0, partial_images=attempt.partial_images())
    output = backend.generate(shot, context)
    masked = _masked(attempt)
    if not isinstance(output, FrameStream):
        if masked:
            for file in output:
                masked.composite_file(file.path)
        return [_image_file(shot, file.path) for file in output]
    files: list[ResultFile] = []
    for index, frame in enumerate(require_frame_count(output.frames, shot.num_frames)):
        path = attempt.workdir / f"image-{index}.png"
        encode_png(masked.composite(frame) if masked else frame, path)
        height, width, _ = frame.shape
        files.append(ResultFile(path, MediaKind.IMAGE, width, height))
    return files


def _masked(attempt: JobAttempt) -> MaskedImage | None:
    """Return the input image and its mask, if there are both: models redraw all of the image."""
    request = attempt.job.request
    image, mask = attempt.input(request.image), attempt.input(request.mask)
    return MaskedImage(image, mask) if image and mask else None


def _image_file(shot: Shot, path: Path) -> ResultFile:
    width, height = shot.width, shot.height
    with suppress(OSError), Image.open(path) as image:
        width, height = image.size
    return ResultFile(path, MediaKind.IMAGE, width, height)
