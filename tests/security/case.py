"""What an attack is: a request, the statuses that may answer it, and the form of that answer."""

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

from msgspec import Struct

OWNER, STRANGER = "alice", "mallory"
"""The names of the server's keys: the second one has nothing of its own."""


Maker: TypeAlias = Callable[[], bytes]
"""Makes a file when it is needed: some take a while."""


class Shape(Enum):
    """The form of an error's body, by dialect."""

    OPENAI = "openai"
    LIGHTX2V = "lightx2v"
    FRAMEGATE = "framegate"
    WAN21 = "wan21"
    WAN22 = "wan22"
    ANY = "any"
    """Not looked at: the server's own paths, or a request that no dialect sees."""


class Case(Struct, frozen=True, kw_only=True):
    """A request over HTTP.

    ``path`` and texts of the body may hold ``{names}`` of what the owner has, and of the listener: see
    `tests.security.conftest.Fortress`; functions in it are called for their values. ``key`` is the name of a
    key, empty for none. ``says`` is part of the answer, ``lacks`` is not.
    """

    name: str
    path: str
    expect: Sequence[int]
    method: str = "POST"
    json: Any = None
    data: Any = None
    files: Mapping[str, tuple[str, bytes | Maker, str]] | None = None
    headers: Mapping[str, str] = {}
    key: str = STRANGER
    shape: Shape = Shape.OPENAI
    says: str = ""
    lacks: str = ""

    def __str__(self) -> str:
        return self.name


class RawCase(Struct, frozen=True, kw_only=True):
    """Bytes over a socket. At most ``answers`` responses may come, the first with a status of ``expect``.

    An empty ``expect`` is for what may be answered or hung up on.
    """

    name: str
    send: bytes
    expect: Sequence[int] = (400,)
    answers: int = 1

    def __str__(self) -> str:
        return self.name


def error_of(shape: Shape, body: Any) -> str:
    """Return the message of an error's body, and check that it is the dialect's."""
    match shape:
        case Shape.OPENAI:
            assert body.keys() == {"error"}, body
            assert body["error"].keys() == {"message", "type", "param", "code"}, body
            message = body["error"]["message"]
        case Shape.LIGHTX2V | Shape.WAN21:
            assert body.keys() == {"detail"}, body
            message = _detail(body["detail"], shape)
        case Shape.WAN22:
            assert body.keys() <= {"error", "errors"}, body
            message = body["error"]
        case Shape.FRAMEGATE:
            assert body.keys() == {"type", "title", "status", "detail", "errors", "request_id"}, body
            message = body["detail"]
        case Shape.ANY:
            return ""
    assert message, body
    assert len(message) < 20_000, message[:300]
    return str(message)


def _detail(detail: Any, shape: Shape) -> str:
    if isinstance(detail, list):
        items: list[Any] = detail  # pyright: ignore[reportUnknownVariableType] # plain JSON
        return " ".join(item["msg"] for item in items)
    if shape == Shape.LIGHTX2V:
        return str(detail)
    assert detail["status"] == "Failed", detail
    return str(detail["reason"])


def each(values: Sequence[str], make: Callable[[str], Case]) -> list[Case]:
    """Return the same attack with each of the values."""
    return [make(value) for value in values]
