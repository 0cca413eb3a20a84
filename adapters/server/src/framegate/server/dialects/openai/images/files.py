"""Result images in the requested format, as base64 or by a link that can't be guessed."""

import asyncio
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
from framegate.core.jobs import Job
from framegate.core.types import Artifact, MediaKind, Variant
from framegate.media.images.reencode import reencode
from framegate.server.dialect import DialectContext
from framegate.server.dialects.openai.images.schemas import FORMATS, Format
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import send_artifact, send_file
from framegate.server.responses.public_links import PublicLinks

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
        data = await self._data(job, artifact)
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
        if encoding.format == "png" and artifact.content_type == "image/png":
            return await send_artifact(
                request, self._services.results, artifact, name=name, inline=True, link=link
            )

        def make(source: Path, image: Path) -> None:
            image.write_bytes(reencode(source, encoding.format, encoding.compression))

        path = await self._services.results.variant_path(artifact, _VARIANTS[encoding.format], make)
        return await send_file(request, path, f"image/{encoding.format}", name=name, inline=True, link=link)

    async def _data(self, job: Job, artifact: Artifact) -> bytes:
        path = await self._services.results.path(artifact)
        encoding = encoding_of(job.labels)
        return await asyncio.to_thread(reencode, path, encoding.format, encoding.compression)
