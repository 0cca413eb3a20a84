"""Result pictures in the format that was asked for, as base64 or by a link that nobody guesses."""

import asyncio
import base64
import re
from collections.abc import Mapping
from typing import Final

from litestar import Response
from litestar.exceptions import NotFoundException
from msgspec import Struct

from framegate.core.jobs import Job
from framegate.core.service import JobService
from framegate.core.types import Artifact, MediaKind
from framegate.media.images.reencode import reencode
from framegate.server.dialect import DialectContext
from framegate.server.dialects.openai.images.schemas import Format
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.result_files import own_host

PATH: Final = "/v1/images/files"

_NAME = re.compile(r"(?P<job>[0-9a-f]{32})_(?P<number>[1-9]\d?)\.(?P<format>png|jpeg|webp)")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private", "Content-Disposition": "inline"}


class Encoding(Struct, frozen=True):
    """Kept as the job's labels. ``compression`` is 0–100, the less the smaller."""

    format: Format = "png"
    compression: int = 100

    def labels(self) -> dict[str, str]:
        return {"output_format": self.format, "output_compression": str(self.compression)}


def encoding_of(labels: Mapping[str, str]) -> Encoding:
    formats: Mapping[str, Format] = {"png": "png", "jpeg": "jpeg", "webp": "webp"}
    return Encoding(formats[labels["output_format"]], int(labels["output_compression"]))


class PictureFiles:
    """The links hold the job's id, which was drawn at random: whoever was given one needs no key."""

    def __init__(self, context: DialectContext) -> None:
        self._service: JobService = context.service
        self._dialect = context.name
        self._base = context.public_url
        self._prefix = context.prefix

    def links(self, request: HTTPRequest, job: Job) -> list[str]:
        start = f"{self._base or own_host(request)}{self._prefix}{PATH}/{job.id}"
        suffix = encoding_of(job.labels).format
        return [f"{start}_{number}.{suffix}" for number in range(1, len(job.artifacts) + 1)]

    async def base64(self, job: Job, artifact: Artifact) -> str:
        """Raises:
        ArtifactGone: it was removed after its retention.
        """
        return base64.b64encode(await self._data(job, artifact)).decode()

    async def send(self, name: str) -> Response[bytes]:
        """Raises:
        NotFoundException: there is no such file.
        JobNotFound, ArtifactGone: it is gone.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise NotFoundException
        job = await self._service.get(match["job"])
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
        path = await self._service.result_path(artifact)
        encoding = encoding_of(job.labels)
        return await asyncio.to_thread(reencode, path, encoding.format, encoding.compression)
