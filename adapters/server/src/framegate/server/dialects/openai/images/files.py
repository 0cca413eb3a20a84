"""Result images in the requested format, as base64 or by a link that can't be guessed."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp
from msgspec import Struct

from framegate.core import audit
from framegate.core.concurrency import FILE_THREADS
from framegate.core.jobs import Job
from framegate.core.types import Artifact, MediaKind, Variant
from framegate.server.dialect import DialectContext
from framegate.server.dialects.openai.images.schemas import FORMATS, Format
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import send_artifact, send_file
from framegate.server.responses.public_links import PublicLinks
from framegate.server.responses.waiting import while_connected

PATH: Final = "/v1/images"
FILES: Final = "/files"
"""Below ``PATH``."""

_NAME = re.compile(r"(?P<job>[0-9a-f]{32})_(?P<number>[1-9]\d?)\.(?P<format>png|jpeg|webp)")
_VARIANTS: Mapping[Format, Variant] = {"png": Variant.PNG, "jpeg": Variant.JPEG, "webp": Variant.WEBP}


class Encoding(Struct, frozen=True):
    """A file format and its quality, kept as the job's labels.

    ``compression`` is 0–100: the lower, the smaller the file.
    """

    format: Format = "png"
    compression: int = 100

    @property
    def variant(self) -> Variant:
        """The variant of a result that has this format."""
        return _VARIANTS[self.format]

    def labels(self) -> dict[str, str]:
        """Return what `encoding_of` reads."""
        return {"output_format": self.format, "output_compression": str(self.compression)}


def encoding_of(labels: Mapping[str, str]) -> Encoding:
    """Return the encoding that a job's labels hold."""
    return Encoding(FORMATS[labels["output_format"]], int(labels["output_compression"]))


class ImageFiles:
    """The images of one dialect, and links to them: anyone with a link can fetch its image without a key."""

    def __init__(self, context: DialectContext) -> None:
        self._services = context.services
        self._dialect = context.name
        self._links = PublicLinks(context, f"{PATH}{FILES}/{{name}}")

    async def links(self, request: HTTPRequest, job: Job) -> list[str]:
        """Return a link to each of a job's images.

        Raises:
            Unavailable: Links are signed with a secret that can't be read now.
        """
        suffix = encoding_of(job.labels).format
        names = [f"{job.id}_{number}.{suffix}" for number in range(1, len(job.artifacts) + 1)]
        return await self._links.links_to(request, names)

    async def base64(self, job: Job, artifact: Artifact) -> str:
        """Return an image as base64.

        Raises:
            ArtifactGone: It was removed after its retention.
        """
        data = await FILE_THREADS.run((await self._path(job, artifact)).read_bytes)
        audit.record("result_downloaded", job_id=job.id, delivery="answer", bytes=len(data))
        return base64.b64encode(data).decode()

    async def send(self, request: HTTPRequest, name: str) -> ASGIApp:
        """Return the response to a GET or HEAD of the image that a link names.

        Raises:
            NotFoundException: There is no such file.
            LinkRefused, LinkExpired: The request came by a link that has to be signed, and is not.
            JobNotFound, ArtifactGone: It was removed.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise NotFoundException
        link = await self._links.check(request, name)
        job = await self._services.jobs.get(match["job"])
        number = int(match["number"])
        if (
            job.dialect != self._dialect
            or job.request.task.output != MediaKind.IMAGE
            or number > len(job.artifacts)
            or encoding_of(job.labels).format != match["format"]
        ):
            raise NotFoundException
        structlog.contextvars.bind_contextvars(job_id=job.id)
        artifact, encoding = job.artifacts[number - 1], encoding_of(job.labels)
        if _is_stored_as(artifact, encoding):
            return await send_artifact(
                request, self._services.results, artifact, name=name, inline=True, link=link
            )
        path = await while_connected(request.receive, self._path(job, artifact))
        return await send_file(request, path, f"image/{encoding.format}", name=name, inline=True, link=link)

    async def _path(self, job: Job, artifact: Artifact) -> Path:
        encoding = encoding_of(job.labels)
        if _is_stored_as(artifact, encoding):
            return await self._services.results.path(artifact)
        return await self._services.results.variant_path(
            job, artifact, encoding.variant, quality=encoding.compression
        )


def _is_stored_as(artifact: Artifact, encoding: Encoding) -> bool:
    return encoding.format == "png" and artifact.content_type == "image/png"
