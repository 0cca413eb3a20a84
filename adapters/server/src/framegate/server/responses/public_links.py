"""Links to files that anybody who has them may fetch without a key."""

from collections.abc import Sequence

from framegate.server.dialect import DialectContext
from framegate.server.requests.bodies import HTTPRequest
from framegate.server.requests.forwarded import AUTHORITY, forwarded_of
from framegate.server.responses.link_signing import SignedLink


class PublicLinks:
    """The links of one dialect to its files, signed if the config says so.

    A file's name holds its job's id, which is random and can't be guessed. ``path`` is that of a handler,
    with ``{name}`` in the place of the name. With ``at_root`` it has no prefix.
    """

    def __init__(self, context: DialectContext, path: str, *, at_root: bool = False) -> None:
        self._signer = context.links
        self._dialect = context.name
        self._base = context.public_url
        self._path = path if at_root else context.prefix + path

    async def links_to(self, request: HTTPRequest, names: Sequence[str]) -> list[str]:
        """Return a link to each file, which works from where the request came from.

        Raises:
            Unavailable: Links are signed with a secret that can't be read now.
        """
        start = server_url(request, self._base)
        return [start + await self._signed(name) for name in names]

    async def check(self, request: HTTPRequest, name: str) -> SignedLink | None:
        """Return the signature by which the request may fetch the file; None where links are plain.

        Raises:
            LinkRefused, LinkExpired: It may not.
            Unavailable: As for `links_to`.
        """
        return await self._signer.check(self._file(name), request.scope)

    async def _signed(self, name: str) -> str:
        path = self._path.replace("{name}", name)
        query = await self._signer.sign(self._file(name))
        return f"{path}{'&' if '?' in path else '?'}{query}" if query else path

    def _file(self, name: str) -> str:
        return f"{self._dialect}/{name}"


def server_url(request: HTTPRequest, public_url: str) -> str:
    """Return what links begin with: ``public_url``, if there is one.

    Otherwise it is scheme and host as the client wrote them, and the path at which a proxy mounts the server.
    """
    if public_url:
        return public_url
    scope, forwarded = request.scope, forwarded_of(request.scope)
    host = forwarded.host or request.headers.get("host", "")
    if not AUTHORITY.fullmatch(host):
        name, port = scope["server"] or ("localhost", None)
        host = f"{name}:{port}" if port else name
    return f"{forwarded.scheme or scope['scheme']}://{host}{forwarded.prefix}"
