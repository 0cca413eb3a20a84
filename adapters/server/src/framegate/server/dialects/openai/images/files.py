"""Result images in the requested format, as base64 or by a link that can't be guessed."""

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Final

from litestar import Response
from litestar.exceptions import NotFoundException
from msgspec import Struct

from framegate.core.jobs import Job
from framegate.core.types import Artifact, MediaKind
from framegate.media.images.reencode import reencode
from framegate.server.dialect import DialectContext
from framegate.server.dialects.openai.images.schemas import Format
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import own_host

PATH: Final = "/v1/images"
FILES: Final = "/files"
"""Below ``PATH``."""

_NAME = re.compile(r"(?P<job>[0-9a-f]{32})_(?P<number>[1-9]\d?)\.(?P<format>png|jpeg|webp)")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private", "Content-Disposition": "inline"}


class Encoding(Struct, frozen=True):
    """A file format and its quality, kept as the job's labels.

    ``compression`` is 0–100: the lower, the smaller the file.
    """

    format: Format = "png"
    compression: int = 100

    def labels(self) -> dict[str, str]:
        """Return what `encoding_of` reads."""
        return {"output_format": self.format, "output_compression": str(self.compression)}


def encoding_of(labels: Mapping[str, str]) -> Encoding:
    """Return the encoding that a job's labels hold."""
    formats: Mapping[str, Format] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
    return Encoding(formats[labels["output_format"]], int(labels["output_compression"]))


class ImageFiles:
    """The images of one dialect, and links to them.

    A link holds the job's id, which is random: anyone with the link can fetch the image without a key.
    """

    def __init__(self, context: DialectContext) -> None:
        self._services = context.services
        self._dialect = context.name
        self._base = context.public_url
        self._prefix = context.prefix

    def links(self, request: HTTPRequest, job: Job) -> list[str]:
        """Return a link to each of a job's images."""
        start = f"{self._base or own_host(request)}{self._prefix}{PATH}{FILES}/{job.id}"
        suffix = encoding_of(job.labels).format
        return [f"{start}_{number}.{suffix}" for number in range(1, len(job.artifacts) + 1)]

    async def base64(self, job: Job, artifact: Artifact) -> str:
        """Return an image as base64.

        Raises:
            ArtifactGone: It was removed after its retention.
        """
        return base64.b64encode(await self._data(job, artifact)).decode()

    async def send(self, name: str) -> Response[bytes]:
        """Return the response with the image that a link names.

        Raises:
            NotFoundException: There is no such file.
            JobNotFound, ArtifactGone: It was removed.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise NotFoundException
        job = await self._services.jobs.get(match["job"])
        number = int(match["number"])
        if (
            job.dialect != self._dialect
            or job.request.task.output != MediaKind.IMAGE
            or number > len(job.artifacts)
            or encoding_of(job.labels).format != match["format"]
        ):
            raise NotFoundException
        data = await self._data(job, job.artifacts[number - 1])
        return Response(data, media_type=f"image/{match['format']}", headers=_HEADERS)

    async def _data(self, job: Job, artifact: Artifact) -> bytes:
        path = await self._services.results.path(artifact)
        encoding = encoding_of(job.labels)
        return await asyncio.to_thread(reencode, path, encoding.format, encoding.compression)
