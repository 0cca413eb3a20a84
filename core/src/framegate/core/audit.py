"""The audit log: who has fetched or removed what, and from where.

Each record is a line of the logger ``framegate.audit``, which the config can send to a file of its own. Who
acts is known for as long as a request is served, or a sweep goes on; see `acting_as`.
"""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import structlog
from msgspec import Struct
from msgspec.structs import replace

LOGGER = "framegate.audit"
ANONYMOUS = "anonymous"

# The logger's own level decides: that of the other logs may be higher.
_log = structlog.wrap_logger(
    logging.getLogger(LOGGER),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=False,  # processes may configure logging after their first line
)


class Actor(Struct, frozen=True):
    """Who acts: a client, or the server by itself.

    Attributes:
        kind: A client; the operator, by a command; the server's retention; or the server for another reason.
        client: The name of the client's key; empty where no key was needed.
        address: The IP address from which a client's request came.
    """

    kind: Literal["client", "operator", "retention", "server"]
    client: str = ""
    address: str = ""


_OPERATOR = Actor("operator")
_actor: ContextVar[Actor] = ContextVar("actor", default=_OPERATOR)


@contextmanager
def acting_as(actor: Actor) -> Generator[None]:
    """Let what is recorded in this block, and in tasks that it starts, be done by ``actor``."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def identify_client(name: str) -> None:
    """Name the key of the client that acts."""
    _actor.set(replace(_actor.get(), client=name))


def record(event: str, **details: Any) -> None:
    """Write a line to the audit log. No detail may hold a key, a signature or a prompt."""
    actor = _actor.get()
    who: dict[str, str] = {"actor": actor.kind}
    if actor.kind == "client":
        who |= {"client": actor.client or ANONYMOUS, "address": actor.address}
    _log.info(event, **who, **details)
