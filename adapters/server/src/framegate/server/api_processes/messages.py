"""What an API process and its parent tell each other.

The parent sends one JSON object a line into the standard input of each process, which answers with a byte.
"""

from typing import TypeAlias

import msgspec
from msgspec import Struct

from framegate.cli.own_workers import OwnWorkersReport

STARTED = b"\n"
"""The process takes requests."""
PREPARED, FAILED = b"+", b"-"
"""It can serve by the config that it was to prepare, or it can't, and has logged why."""


class Start(Struct, frozen=True, tag="start"):
    """The first message: the text of the config file, and the host's own workers.

    ``config`` is the text that the server has started with, ``reloaded`` the one that it has been reloaded
    with, if it has been. The process that ``shows_banner`` prints what a person at a terminal wants to know.
    """

    config: str
    reloaded: str | None
    workers: OwnWorkersReport
    shows_banner: bool


class Prepare(Struct, frozen=True, tag="prepare"):
    """Get ready to serve by another text of the config file, and answer whether that is possible."""

    config: str


class Conclude(Struct, frozen=True, tag="conclude"):
    """Serve by the prepared config from now on, or forget it."""

    apply: bool


Message: TypeAlias = Start | Prepare | Conclude | OwnWorkersReport

_decoder: "msgspec.json.Decoder[Message]" = msgspec.json.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the message as a line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line."""
    return _decoder.decode(line)
