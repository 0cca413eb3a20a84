"""What an API process and its parent tell each other.

Each sends one JSON object a line over a socket, which is the API process's standard input. Once that process
takes requests, it sends an empty line. Each config that it is to prepare has a number, as an answer may come
after the parent has given up.
"""

from typing import TypeAlias

import msgspec
from msgspec import Struct

from framegate.cli.own_workers import OwnWorkersReport

STARTED = b"\n"
"""The process takes requests."""


class Start(Struct, frozen=True, tag="start"):
    """The first message: the text of the config file, and the host's own workers.

    ``config`` is the text that the server has started with, ``reloaded`` the one that it has been reloaded
    with, if it has been.
    """

    config: str
    reloaded: str | None
    workers: OwnWorkersReport


class ShowBanner(Struct, frozen=True, tag="show_banner"):
    """Print what a person at a terminal wants to know; the first process that takes requests does."""


class Prepare(Struct, frozen=True, tag="prepare"):
    """Get ready to serve by another text of the config file, and answer whether that is possible."""

    number: int
    config: str


class Prepared(Struct, frozen=True):
    """The answer; a process that can't serve by the config has logged why."""

    number: int
    usable: bool


class Conclude(Struct, frozen=True, tag="conclude"):
    """Serve by the prepared config from now on, or forget it.

    A process that can't serve by a config that is to apply ends, and another one is started in its place.
    """

    number: int
    apply: bool


Message: TypeAlias = Start | ShowBanner | Prepare | Conclude | OwnWorkersReport

_decoder: "msgspec.json.Decoder[Message]" = msgspec.json.Decoder(Message)


def encode(message: Message | Prepared) -> bytes:
    """Return the message as a line."""
    return msgspec.json.encode(message) + b"\n"


def decode(line: bytes) -> Message:
    """Return the parent's message of a line."""
    return _decoder.decode(line)


def decode_answer(line: bytes) -> Prepared:
    """Return a process's answer of a line."""
    return msgspec.json.decode(line, type=Prepared)
