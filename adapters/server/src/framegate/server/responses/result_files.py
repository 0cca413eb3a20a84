"""Result files by names that can't be guessed, and links to them."""

import re

import structlog
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp

from framegate.core.jobs import Job
from framegate.core.types import Artifact, MediaKind
from framegate.server.dialect import DialectContext
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.responses.files import send_artifact
from framegate.server.responses.public_links import PublicLinks

_NAME = re.compile(r"(?P<job>[0-9a-f]{32})_(?P<number>[1-9]\d{0,3})\.[a-z0-9]{3,4}")
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4"}


class ResultFiles:
    """The results of one dialect.

    Anyone with a link can fetch the file without a key, as the ``src`` of a page's ``<video>`` must. ``path``
    and ``at_root`` are those of `PublicLinks`.
    """

    def __init__(self, context: DialectContext, path: str, *, at_root: bool = False) -> None:
        self._services = context.services
        self._dialect = context.name
        self._links = PublicLinks(context, path, at_root=at_root)

    async def links(self, request: HTTPRequest, job: Job) -> list[str]:
        """Return links to a job's files; empty while there are none.

        Raises:
            Unavailable: Links are signed with a secret that can't be read now.
        """
        names = [_name(job, number, made) for number, made in enumerate(job.artifacts, start=1)]
        return await self._links.links_to(request, names)

    async def send(self, request: HTTPRequest, name: str) -> ASGIApp:
        """Return the response to a GET or HEAD of a file. The name is looked up, never joined into a path.

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
        if job.dialect != self._dialect or number > len(job.artifacts):
            raise NotFoundException
        artifact = job.artifacts[number - 1]
        if name != _name(job, number, artifact):
            raise NotFoundException
        structlog.contextvars.bind_contextvars(job_id=job.id)
        return await send_artifact(
            request, self._services.results, artifact, name=name, inline=True, link=link
        )


def _name(job: Job, number: int, artifact: Artifact) -> str:
    other = "mp4" if artifact.kind == MediaKind.VIDEO else "png"
    return f"{job.id}_{number}.{_SUFFIXES.get(artifact.content_type, other)}"
