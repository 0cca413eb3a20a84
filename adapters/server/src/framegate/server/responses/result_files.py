"""Result files by names that can't be guessed, and links to them."""

import re
from collections.abc import Sequence

from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp

from framegate.core.jobs import Job
from framegate.core.types import Artifact, MediaKind
from framegate.server.dialect import DialectContext
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.forwarded import AUTHORITY, forwarded_of
from framegate.server.responses.files import send_artifact

_NAME = re.compile(r"(?P<job>[0-9a-f]{32})_(?P<number>[1-9]\d{0,3})\.[a-z0-9]{3,4}")
_SUFFIXES = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4"}


class ResultFiles:
    """The results of one dialect.

    Their names hold the job's id, which is random: anyone with the name can fetch the file without a
    key, as the ``src`` of a page's ``<video>`` must. With ``at_root`` their paths have no prefix.
    """

    def __init__(self, context: DialectContext, *, at_root: bool = False) -> None:
        self._services = context.services
        self._dialect = context.name
        self._base = context.public_url
        self._prefix = "" if at_root else context.prefix

    def names(self, job: Job) -> Sequence[str]:
        """Return the names of a job's files; empty while there are none."""
        return [_name(job, number, made) for number, made in enumerate(job.artifacts, start=1)]

    def absolute(self, request: HTTPRequest, path: str) -> str:
        """Return a link to ``path`` that works from where the request came from."""
        return f"{self._base or own_host(request)}{self._prefix}{path}"

    async def send(self, request: HTTPRequest, name: str) -> ASGIApp:
        """Return the response to a GET or HEAD of a file. The name is looked up, never joined into a path.

        Raises:
            NotFoundException: There is no such file.
            ArtifactGone: It was removed after its retention.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise NotFoundException
        job = await self._services.jobs.get(match["job"])
        number = int(match["number"])
        if job.dialect != self._dialect or number > len(job.artifacts):
            raise NotFoundException
        artifact = job.artifacts[number - 1]
        if name != _name(job, number, artifact):
            raise NotFoundException
        return await send_artifact(request, self._services.results, artifact, name=name, inline=True)


def own_host(request: HTTPRequest) -> str:
    """Return scheme and host as the client wrote them, and the path at which a proxy mounts this server."""
    scope, forwarded = request.scope, forwarded_of(request.scope)
    host = forwarded.host or request.headers.get("host", "")
    if not AUTHORITY.fullmatch(host):
        name, port = scope["server"] or ("localhost", None)
        host = f"{name}:{port}" if port else name
    return f"{forwarded.scheme or scope['scheme']}://{host}{forwarded.prefix}"


def _name(job: Job, number: int, artifact: Artifact) -> str:
    other = "mp4" if artifact.kind == MediaKind.VIDEO else "png"
    return f"{job.id}_{number}.{_SUFFIXES.get(artifact.content_type, other)}"
