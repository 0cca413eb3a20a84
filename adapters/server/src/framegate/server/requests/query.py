"""Empty query parameters."""

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send


def drop_empty_parameters(app: ASGIApp) -> ASGIApp:
    """Wrap the app so that a parameter without a value counts as omitted: ``?after=&limit=5``.

    That is how many clients write a null.
    """

    async def dropping(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            pairs = scope["query_string"].split(b"&")
            scope["query_string"] = b"&".join(pair for pair in pairs if pair.partition(b"=")[2])
        await app(scope, receive, send)

    return dropping
